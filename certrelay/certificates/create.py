"""Create a certificate or a new version of one: from the caller's specification to an open operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from certrelay import rules
from certrelay.access import ownership
from certrelay.certificates import renewal_end
from certrelay.errors import Fault, Invalid
from certrelay.keyvault import policy
from certrelay.keyvault.tags import managed_tags
from certrelay.operations import find, submit
from certrelay.pki.names import MAX_COMMON_NAME
from certrelay.pki.subject import SubjectNames
from certrelay.rules import default_days, tag_faults
from certrelay.services import Services
from certrelay.setting_models import Authority
from certrelay.storage.operation import CERTIFICATE_NAME, CertificateRequest, Operation

RESERVED_NAMES = ("contacts", "issuers")  # Key Vault uses their paths for these resources
MAX_DAYS = 3650  # the longest validity that a caller may request from an authority


@dataclass(frozen=True, slots=True)
class CertificateSpec:
    """What a caller requests. `policy` is Key Vault's JSON; subject and names are short forms for its x509_props.

    Without `authority`, a Key Vault issuer issues. `enabled`: whether the new version is enabled.
    `force`: create it even if the certificate is then no longer renewed."""

    authority: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    subject: str | None = None
    dns_names: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    user_principal_names: tuple[str, ...] = ()
    validity_days: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    force: bool = False


_SHORT = {
    "dns_names": "dns_names",
    "emails": "email_addresses",
    "ipAddresses": "ip_addresses",
    "uris": "uris",
    "upns": "user_principal_names",
}


def create(
    services: Services,
    vault: str,
    name: str,
    spec: CertificateSpec,
    *,
    requested_by: str,
    idempotency_key: str | None = None,
    hold: bool = False,
) -> Operation:
    """Open the operation that creates the certificate, or return the existing one for the same request.

    `requested_by`, `idempotency_key`, `hold`: see `Origin`. Long: they are what a caller says besides the certificate.

    Raises Invalid (with every fault), NotPermitted (by the rules, or for the caller), Conflict `Managed` (`force` is
    needed), NameBusy, NotReady."""
    request = complete(services, vault, name, spec)
    rules.check(services, vault, request)
    if request.policy["key_props"].get("reuse_key"):
        rules.check_reused_key(services, vault, name, request.policy, services.vault(vault).get(name))
    must_own = ownership.permit_version(services, vault, name, request, force=spec.force)
    origin = submit.Origin(requested_by=requested_by, idempotency_key=idempotency_key, must_own=must_own, hold=hold)
    _refuse_end_of_renewal(services, vault, name, request, spec.force, origin)
    return submit.open_operation(services, vault, name, request, origin)


def _refuse_end_of_renewal(
    services: Services, vault: str, name: str, request: CertificateRequest, force: bool, origin: submit.Origin
) -> None:
    """Raise Conflict if the version would end the certificate's renewal, unless forced, or requested before."""
    if force or (request.authority is not None and request.enabled):
        return
    existing = find.by_key_or_open(services, vault, name, origin.idempotency_key)
    if existing is None or existing.request.fingerprint() != request.fingerprint():
        current = services.vault(vault).get(name)
        authority, enabled = request.authority, request.enabled
        renewal_end.refuse(name, current, authority=authority, policy=request.policy, enabled=enabled)


def complete(services: Services, vault: str, name: str, spec: CertificateSpec) -> CertificateRequest:
    """The complete request, with defaults. Does not call Key Vault. Raises Invalid with every fault."""
    faults = where_faults(services, vault, name)
    known = services.knows_authority(spec.authority or "")
    authority = services.settings.authorities[spec.authority or ""] if known else None
    try:
        rules.check_authority_exists(services, spec.authority)
    except Invalid as error:
        faults += error.faults
    days = spec.validity_days
    written = _with_short_names(spec, faults)
    if authority is not None and days is None:
        days = policy.days_of(written) or _default_days(services, vault, authority)
        if days > MAX_DAYS:
            text = f"must be at most {MAX_DAYS} days when an authority signs"
            faults.append(Fault("/policy/x509_props/validity_months", text))
    completed: dict[str, Any] = {}
    names = SubjectNames()
    try:
        completed, names = policy.complete(written, authority=spec.authority, validity_days=days)
    except Invalid as error:
        faults += [_as_written(spec, fault) for fault in error.faults]
    faults += tag_faults(services, spec.tags)
    tags = _tags(spec, days, completed)
    if faults:
        raise Invalid(faults)
    return CertificateRequest(
        completed, spec.authority, days if spec.authority else None, tags, spec.enabled,
        exact=tuple(key for key in ("key_usage", "ekus") if (spec.policy.get("x509_props") or {}).get(key)),
        names=names,
    )  # fmt: skip


def _default_days(services: Services, vault: str, authority: Authority) -> int:
    known = services.settings.vaults.get(vault)
    return default_days(authority.settings, known.rules if known else None)


def where_faults(services: Services, vault: str, name: str) -> list[Fault]:
    """The faults of the vault alias and the certificate name in a path."""
    faults = []
    if vault not in services.settings.vaults:
        faults.append(Fault("", f"there is no vault {vault!r}; the settings have: {services.known_vaults}"))
    if not CERTIFICATE_NAME.fullmatch(name):
        faults.append(Fault("", "a certificate's name must have 1 to 127 letters, digits and hyphens"))
    if name.lower() in RESERVED_NAMES:
        faults.append(
            Fault("", f"a certificate cannot be called {name!r}: Key Vault uses that path for its {name.lower()}")
        )
    return faults


def _with_short_names(spec: CertificateSpec, faults: list[Fault]) -> dict[str, Any]:
    """The policy with the short forms filled in, and a common name from the first DNS name if there is no subject."""
    written = {**spec.policy, "x509_props": dict(spec.policy.get("x509_props") or {})}
    x509 = written["x509_props"]
    sans = dict(x509.get("sans") or {})
    for key, short in _SHORT.items():
        values = list(getattr(spec, short))
        if values and sans.get(key):
            faults.append(Fault(f"/{short}", f"is also in policy/x509_props/sans/{key}; use only one of them"))
        if values:
            sans[key] = values
    if spec.subject and x509.get("subject"):
        faults.append(Fault("/subject", "is also in policy/x509_props/subject; use only one of them"))
    subject = spec.subject or x509.get("subject") or ""
    first = next(iter(sans.get("dns_names") or ()), None)
    if not subject and isinstance(first, str) and first.isascii() and 0 < len(first) <= MAX_COMMON_NAME:
        subject = f"CN={first.removesuffix('.')}"
    return written | {"x509_props": x509 | {"subject": subject, "sans": sans}}


def _as_written(spec: CertificateSpec, fault: Fault) -> Fault:
    """The fault with a pointer to where the caller wrote the value: to the short form if that was used."""
    for key, short in _SHORT.items():
        if getattr(spec, short):
            for long in (f"/policy/x509_props/sans/{key}", f"/{key}"):
                if fault.pointer == long or fault.pointer.startswith(long + "/"):
                    return Fault(f"/{short}" + fault.pointer.removeprefix(long), fault.detail)
    return fault


def _tags(spec: CertificateSpec, days: int | None, completed: dict[str, Any]) -> dict[str, str]:
    if spec.authority is None or days is None:
        return dict(spec.tags)
    trigger = policy.threshold(completed) if spec.policy.get("lifetime_actions") else None
    return dict(spec.tags) | managed_tags(spec.authority, days, trigger)
