"""The application settings of the app in the sandbox, as they would be in Azure."""

import json
from collections.abc import Mapping

from sandbox.openbao import OpenBao

ALIAS, AUTHORITY = "main", "openbao"


def app_settings(sandbox: Mapping[str, str], authority: OpenBao) -> dict[str, str]:
    """`sandbox`: where its parts are, as in `Sandbox.settings`. The secret of the authority is a setting of its own."""
    openbao = {
        "connector": "vault_pki",
        "url": authority.address,
        "mount": authority.mount,
        "role": authority.role,
        "role_id": authority.role_id,
        "secret_id": "@OPENBAO_SECRET_ID",
    }
    return {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHON_THREADPOOL_THREAD_COUNT": "32",
        "PYDANTIC_DISABLE_PLUGINS": "true",
        "AzureWebJobsStorage": sandbox["STORAGE_CONNECTION_STRING"],
        "IDENTITY_ENDPOINT": sandbox["IDENTITY_ENDPOINT"],
        "IDENTITY_HEADER": sandbox["IDENTITY_HEADER"],
        "REQUESTS_CA_BUNDLE": sandbox["CA_BUNDLE"],
        "SSL_CERT_FILE": sandbox["CA_BUNDLE"],
        "CERTRELAY_VAULTS": json.dumps({ALIAS: {"url": sandbox["VAULT_URL"]}}),
        "CERTRELAY_AUTHORITIES": json.dumps({AUTHORITY: openbao, "by-hand": {"connector": "manual"}}),
        "OPENBAO_SECRET_ID": authority.secret_id,
        "CERTRELAY_POLL_SCHEDULE": "*/5 * * * * *",
        "CERTRELAY_SWEEP_SCHEDULE": "0 7 * * * *",
        "CERTRELAY_DIGEST_SCHEDULE": "0 0 6 * * *",
    }
