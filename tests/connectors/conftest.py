"""Servers that several modules use."""

from typing import Any

import pytest

from tests.connectors.bao import POLICY, Bao, Pki


@pytest.fixture(scope="session")
def pki(openbao: Any) -> Pki:
    bao = Bao(openbao.address, openbao.root_token)
    root = bao.make_pki("pki-conformance")
    bao.write("sys/policies/acl/signing", policy=POLICY)
    bao.write("sys/auth/approle-conformance", type="approle")
    bao.write("auth/approle-conformance/role/relay", token_policies="signing", token_ttl="1h", token_max_ttl="2h")
    role_id = bao.ask("GET", "auth/approle-conformance/role/relay/role-id")["role_id"]
    secret_id = bao.write("auth/approle-conformance/role/relay/secret-id")["secret_id"]
    return Pki(bao, root, role_id, secret_id)
