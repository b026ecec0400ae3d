"""The environment of what the sandbox starts: a developer's own settings must not reach it, and no proxy."""

import os

FOREIGN_SETTINGS = (
    "AZURE_",
    "IDENTITY_",
    "MSI_",
    "CERTRELAY_",
    "FUNCTIONS_",
    "BAO_",
    "VAULT_",
    "REQUESTS_",
    "SSL_CERT_",
    "WEBSITE_",
)
FOREIGN_ENDINGS = ("_PROXY",)


def own_environment() -> dict[str, str]:
    """This process's environment without the settings of anything else."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(FOREIGN_SETTINGS) and not name.upper().endswith(FOREIGN_ENDINGS)
    }
