"""Key Vault's errors. Messages are the service's own where they are known."""

from typing import Any


class KeyVaultError(Exception):
    """An error answer: HTTP status, code, message, and the inner error's code where Key Vault sends one."""

    def __init__(
        self, status: int, code: str, message: str, inner: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON body: `{"error": {"code", "message", "innererror"?}}`."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


def bad_parameter(message: str, inner: str | None = None) -> KeyVaultError:
    return KeyVaultError(400, "BadParameter", message, inner)


def invalid_property(name: str, detail: str = "") -> KeyVaultError:
    return bad_parameter(f"Property {name} has invalid value{'. ' + detail if detail else ''}\r\n")


def invalid_policy(path: str) -> KeyVaultError:
    """The service names the policy only; the path of the member in brackets is the sandbox's addition."""
    return bad_parameter(f"Property policy has invalid value ({path})\r\n")


def certificate_not_found(name: str, version: str | None = None) -> KeyVaultError:
    identifier = f"{name}/versions/{version}" if version else name
    return KeyVaultError(
        404,
        "CertificateNotFound",
        f"A certificate with (name/id) {identifier} was not found in this key vault. If you recently deleted this "
        "certificate you may be able to recover it using the correct recovery command. For help resolving this issue, "
        "please see https://go.microsoft.com/fwlink/?linkid=2125182",
    )


def deleted_certificate_not_found(name: str) -> KeyVaultError:
    return KeyVaultError(404, "CertificateNotFound", f"Deleted Certificate not found: {name}")


def pending_not_found(name: str) -> KeyVaultError:
    return KeyVaultError(404, "PendingCertificateNotFound", f"Pending certificate not found: {name}")


def not_found(kind: str, name: str, version: str | None = None) -> KeyVaultError:
    """The 404 of a key or secret; `kind` is `Key` or `Secret`."""
    identifier = f"{name}/{version}" if version else name
    return KeyVaultError(
        404,
        f"{kind}NotFound",
        f"A {kind.lower()} with (name/id) {identifier} was not found in this key vault. If you recently deleted this "
        f"{kind.lower()} you may be able to recover it using the correct recovery command. For help resolving this "
        "issue, please see https://go.microsoft.com/fwlink/?linkid=2125182",
    )


def forbidden(message: str, inner: str | None = None) -> KeyVaultError:
    return KeyVaultError(403, "Forbidden", message, inner)


def conflict(message: str, inner: str | None = None) -> KeyVaultError:
    return KeyVaultError(409, "Conflict", message, inner)


def pending_in_progress() -> KeyVaultError:
    # 409 with the code "Forbidden", as documented.
    return KeyVaultError(
        409,
        "Forbidden",
        "A new key vault certificate can not be created or imported while a pending key vault certificate's status is "
        "inProgress.",
    )


def deleted_but_recoverable(name: str, kind: str = "Certificate") -> KeyVaultError:
    return conflict(
        f"{kind} {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this "
        f"state, the {kind.lower()} can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )


def being_deleted(name: str, detail: str = "", kind: str = "Certificate") -> KeyVaultError:
    return conflict(f"{kind} {name} is currently being deleted{detail}.", "ObjectIsBeingDeleted")


def name_of_a_key(name: str) -> KeyVaultError:
    """A certificate makes a key of its own name, and one that belongs to no certificate has it."""
    return conflict(f"A key with the name {name} already exists, and it does not belong to a certificate.")


def unknown_issuer(name: str) -> KeyVaultError:
    """A policy names an issuer that the vault does not have."""
    return bad_parameter(f"Issuer {name} not found")
