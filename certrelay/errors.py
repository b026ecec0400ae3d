"""Everything that CertRelay raises on purpose.

    CertRelayError
    ├── Invalid              the caller's input; lists every fault                     400
    │   ├── Unverified       a CSR, certificate or chain that is not what was asked
    │   └── BadContinuation  where a page of a list starts, as no response has said it
    ├── NotPermitted         the caller's role or a rule of the settings forbids it    403
    ├── NotFound             no such vault, authority, certificate or operation        404
    ├── Conflict             the certificate is not in a state that allows it          409
    │   ├── NameBusy         it has another operation
    │   ├── NotDue           it need not be renewed yet
    │   ├── Booked           it can wait, and the rate limits are exhausted for hours
    │   ├── NotAllowedNow    Key Vault does not allow it in the certificate's state
    │   ├── SoftDeleted      Key Vault holds a soft-deleted certificate of that name
    │   └── BeingDeleted     Key Vault is still deleting it
    ├── NotReady             Key Vault, storage or an authority cannot answer now      503
    │   ├── VaultForbidden   Key Vault refuses the app itself: a role is missing
    │   ├── StorageNotReady  the storage account cannot
    │   └── Throttled        Key Vault has had too many requests, and did nothing
    └── SettingsError        the settings; lists every fault                           at start

Code that reacts to an error checks its class; `code` is for callers. Callers see the messages, so these hold no secret,
no stack trace and no SDK's text. Secrets of the settings that an authority repeats are removed (certrelay.redaction).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from certrelay.redaction import redact

MAX_FAULTS = 100  # that one refusal names


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `pointer` is a JSON pointer (RFC 6901) into the request body, `""` for the whole of it."""

    pointer: str
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redact(self.detail))


class CertRelayError(Exception):
    """`code` is a short, stable name for programs; the message is a sentence for people."""

    code = "Error"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(redact(message))
        self.code = code or type(self).code


class Invalid(CertRelayError):
    code = "BadRequest"

    def __init__(self, faults: Sequence[Fault] | str, code: str | None = None) -> None:
        self.faults = (Fault("", faults),) if isinstance(faults, str) else first_faults(faults)
        super().__init__("; ".join(fault.detail for fault in self.faults), code)


def first_faults(faults: Sequence[Fault], count: int | None = None) -> tuple[Fault, ...]:
    """At most MAX_FAULTS faults; the last one says how many more there are. `count`: of all that there are."""
    count = len(faults) if count is None else count
    if count <= MAX_FAULTS:
        return tuple(faults)
    kept = faults[: MAX_FAULTS - 1]
    return (*kept, Fault("", f"… and {count - len(kept)} more faults"))


class Unverified(Invalid):
    code = "Unverified"


class BadContinuation(Invalid):
    def __init__(self) -> None:
        super().__init__([Fault("/continuation", "must be the continuation of an earlier response")])


class NotPermitted(CertRelayError):
    code = "Forbidden"


class NotFound(CertRelayError):
    code = "NotFound"


class Conflict(CertRelayError):
    code = "Conflict"


class NameBusy(Conflict):
    code = "NameBusy"


class NotDue(Conflict):
    code = "NotDue"


class Booked(Conflict):
    code = "Booked"


class NotAllowedNow(Conflict):
    code = "NotAllowedNow"


class SoftDeleted(Conflict):
    code = "ObjectIsDeletedButRecoverable"


class BeingDeleted(Conflict):
    code = "ObjectIsBeingDeleted"


class NotReady(CertRelayError):
    """`retry_after` in seconds."""

    code = "NotReady"

    def __init__(self, message: str, retry_after: float = 10.0, code: str | None = None) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class VaultForbidden(NotReady):
    """The text names the role that the app lacks, and none of the app's ids."""

    code = "VaultForbidden"

    def __init__(self, message: str, retry_after: float = 60.0, code: str | None = None) -> None:
        super().__init__(message, retry_after, code)


class StorageNotReady(NotReady):
    code = "StorageNotReady"


class Throttled(NotReady):
    code = "Throttled"


class SettingsError(CertRelayError):
    code = "Settings"

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("the settings are not valid:\n" + "\n".join(f"  - {fault}" for fault in faults))
