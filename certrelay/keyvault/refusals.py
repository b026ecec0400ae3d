"""What Key Vault's error answers mean, and which right the app lacks when Key Vault answers 403.

A 403 is about the app's own identity or network, never about whoever called the app; its text names the app's ids,
which are nobody's business. Key Vault also answers 403 where a certificate's state does not allow an operation.
https://learn.microsoft.com/azure/key-vault/general/common-error-codes,
https://learn.microsoft.com/azure/role-based-access-control/permissions/security#microsoftkeyvault
"""

import re

from certrelay.errors import NotAllowedNow, VaultForbidden

DATA_ACTIONS = "Microsoft.KeyVault/vaults/"
ROLE = "Key Vault Certificates Officer"
NETWORK = ("ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByNsp")
# Not `Forbidden` alone: that is the code of all of them.
_STATE = re.compile(r"pending|disabled|purge|managed by Key Vault|not (allowed|permitted) on|forbidden on", re.I)
_ACCESS = re.compile(r"ForbiddenBy\w+|AccessDenied\w*|InsufficientPermissions")
_ACTIONS = (  # the first that matches
    ("GET", r"/certificates/issuers(/.*)?", "certificatecas/read"),
    ("DELETE", r"/certificates/issuers/.*", "certificatecas/delete"),
    ("PUT|PATCH", r"/certificates/issuers/.*", "certificatecas/write"),
    ("GET|PUT|DELETE", r"/certificates/contacts", "certificatecontacts/write"),
    ("POST", r"/certificates/[^/]+/(create|pending/merge)", "certificates/create/action"),
    ("POST", r"/certificates/[^/]+/import", "certificates/import/action"),
    ("POST", r"/deletedcertificates/[^/]+/recover", "certificates/recover/action"),
    ("PATCH", r"/certificates/.*", "certificates/update/action"),
    ("DELETE", r"/certificates/[^/]+/pending", "certificates/update/action"),
    ("DELETE", r"/certificates/[^/]+", "certificates/delete"),
    ("GET", r"/(deleted)?certificates(/.*)?", "certificates/read"),
)


def data_action(method: str, path: str) -> str:
    """The data action (Azure RBAC) that a request needs, such as `certificates/create/action`; "" if unknown."""
    for methods, pattern, action in _ACTIONS:
        if re.fullmatch(methods, method) and re.fullmatch(pattern, path):
            return action
    return ""


def without_names(path: str) -> str:
    """A path of Key Vault's REST API with placeholders instead of names and versions, for metrics."""
    path = re.sub(r"^/certificates/issuers/[^/]+", "/certificates/issuers/{issuer}", path)
    path = re.sub(r"^/((?:deleted)?certificates)/(?!issuers(/|$)|contacts$)[^/]+", r"/\1/{name}", path)
    return re.sub(r"^(/certificates/\{name\})/[0-9a-f]{32}$", r"\1/{version}", path.rstrip("/"))


def forbidden(url: str, request: tuple[str, str], inner: str, text: str) -> VaultForbidden | NotAllowedNow:
    """What a 403 means: the app may not do this (in a sentence of ours), or the certificate's state does not allow it.

    `request`: method and path. `inner`: the inner error's code, or "". `text`: Key Vault's message."""
    if not _ACCESS.fullmatch(inner) and (inner or _STATE.search(text)):
        return NotAllowedNow(text, inner or None)
    if inner in NETWORK:
        return VaultForbidden(
            f"the network rules of {url} do not let the app in: allow the app's subnet or a private endpoint there"
        )
    action = data_action(*request)
    right = f"the data action {DATA_ACTIONS}{action}" if action else "a right"
    return VaultForbidden(
        f"the app's identity lacks {right} on {url}: assign it the role {ROLE} there, or a custom role with that "
        "action (in a vault with access policies: the permission of that name)"
    )
