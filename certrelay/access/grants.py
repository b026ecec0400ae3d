"""Whether a caller's grants reach a vault, a certificate, an authority and names. One grant has to reach all of it.

Without grants in the settings, the caller's role reaches everything. The app itself (no caller) may do everything.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from certrelay.callers import FUNCTION_KEY, Caller, Role, allows_authority, allows_vault
from certrelay.errors import Invalid, NotPermitted
from certrelay.pki.alternative_names import other_names
from certrelay.pki.distinguished_names import attributes
from certrelay.pki.names import common_names, names_of
from certrelay.pki.patterns import name_allowed, names_not_allowed
from certrelay.pki.subject import SubjectNames
from certrelay.pki.wording import listed
from certrelay.rules import EMAIL_ADDRESS
from certrelay.services import Services
from certrelay.setting_models import Grant
from certrelay.storage.operation import CertificateRequest
from certrelay.validation import ALIAS

UNKNOWN = "Unknown"  # Key Vault's name for the issuer of what it did not order itself
TOO_MANY_GROUPS = (
    "; your token names no groups, since you are in too many: let Entra ID emit only groups assigned to the "
    "application, or grant an application role or your own id"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a version would be: by `authority` or, if not `managed`, by this issuer of Key Vault; with `names`.

    `more_names`: further common names in its subject; `unknown_names`: names of kinds that no pattern is for."""

    authority: str
    managed: bool
    names: SubjectNames
    more_names: tuple[str, ...] = ()
    unknown_names: tuple[str, ...] = ()


def wanted_by(request: CertificateRequest) -> Wanted:
    """What this request asks for."""
    authority = request.authority or request.issuer
    return wanted_of_policy(authority, request.authority is not None, request.policy, request.expected.names)


def wanted_of_policy(authority: str, managed: bool, policy: Mapping[str, Any], names: SubjectNames) -> Wanted:
    """What a version by this policy (Key Vault's JSON) would be; `names`: those of the policy, normalised."""
    subject = (policy.get("x509_props") or {}).get("subject")
    addresses = [value for kind, value in attributes(subject) if kind in EMAIL_ADDRESS] if subject else []
    return Wanted(authority, managed, replace(names, email_addresses=(*names.email_addresses, *addresses)))


def wanted_in(certificate: x509.Certificate, issuer: str = UNKNOWN) -> Wanted:
    """What a certificate has that exists already."""
    try:
        names = names_of(certificate)
        unknown = other_names(certificate)
    except Invalid:  # it may have any name, and is like no other certificate
        unreadable = f"that cannot be read (certificate {certificate.fingerprint(hashes.SHA256()).hex()})"
        return Wanted(issuer, False, SubjectNames(), (), (unreadable,))
    addresses = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    more = tuple(name for name in common_names(certificate) if name != names.common_name)
    with_addresses = replace(names, email_addresses=(*names.email_addresses, *addresses))
    return Wanted(issuer, False, with_addresses, more, unknown)


def may(services: Services, role: Role, vault: str, name: str | None = None) -> bool:
    """Whether the caller has the role for this certificate; without `name`, for anything in the vault."""
    return services.caller is None or _reaches(services.caller, role, vault, name, None)


def highest_role(caller: Caller, vault: str) -> Role | None:
    """The highest role that a grant gives the caller for anything in the vault."""
    return max((_role(grant) for grant in caller.grants if allows_vault(grant, vault)), default=None)


def may_use(services: Services, vault: str | None, authority: str) -> bool:
    """Whether any of the caller's grants is for this authority, or issuer, in this vault (None: in any)."""
    return services.caller is None or _reaches(services.caller, Role.READER, vault, None, authority)


def require(
    caller: Caller, role: Role, vault: str | None = None, name: str | None = None, authority: str | None = None
) -> None:
    """Raise NotPermitted unless a grant of the caller has the role for what a request's path names.

    What an Administrator may do reaches further than one certificate: for that, a grant must have no patterns."""
    if not _reaches(caller, role, vault, name, authority):
        where = f"certificate {name} in vault {vault}" if name else f"vault {vault}" if vault else "this"
        raise NotPermitted(_refusal(caller, role, where if authority is None else f"{authority} in {where}"))


def require_everything(services: Services, role: Role, vaults: Iterable[str], authority: str | None) -> None:
    """Raise NotPermitted unless one grant has the role for all certificates in these vaults (none: in all vaults).

    `authority`: only for certificates of this authority; None: of any."""
    caller = services.caller
    if caller is None:
        return
    needed = tuple(vaults) or tuple(services.settings.vaults)
    for grant in caller.grants:
        everything = not grant.certificates and not grant.subjects and _role(grant) >= role
        in_vaults = all(allows_vault(grant, alias) for alias in needed)
        if everything and in_vaults and (not grant.authorities or (authority and allows_authority(grant, authority))):
            return
    may_know = all(any(allows_vault(grant, alias) for grant in caller.grants) for alias in needed)
    where = f"all certificates in {listed(sorted(needed)) if may_know else 'all vaults that this is about'}"
    where += f" of authority {authority}" if authority and may_know else ""
    raise NotPermitted(_refusal(caller, role, where))


def role_for(services: Services, vault: str, name: str, wanted: Wanted) -> Role:
    """The highest role in which the caller may ask for this; Administrator for the app itself.

    Raises NotPermitted unless it is Requester at least, with what keeps the caller's grants from reaching it."""
    caller = services.caller
    if caller is None:
        return Role.ADMINISTRATOR
    near = [grant for grant in caller.grants if _role(grant) >= Role.REQUESTER and _has(grant, vault, name)]
    roles = [_role(grant) for grant in near if not any(_limits(grant, wanted))]
    if roles:
        return max(roles)
    where = f"certificate {name} in vault {vault}"
    if not near:
        raise NotPermitted(_refusal(caller, Role.REQUESTER, where))
    limits = min(([*_limits(grant, wanted)] for grant in near), key=len)
    raise NotPermitted(f"your grants for {where} do not allow {listed(limits)}", "NotGranted")


def require_request(services: Services, role: Role, vault: str, name: str, wanted: Wanted) -> None:
    """Raise NotPermitted unless a grant of the caller has the role for this certificate, authority and names."""
    caller = services.caller
    if caller is not None and role_for(services, vault, name, wanted) < role:
        where = f"certificate {name} in vault {vault} with these names by {wanted.authority}"
        raise NotPermitted(_refusal(caller, role, where))


def _refusal(caller: Caller, role: Role, where: str) -> str:
    """Which role is missing, and where."""
    if caller.by_grants:
        left_out = TOO_MANY_GROUPS if caller.groups_left_out else ""
        return f"no grant of yours has the role {role.title} for {where}{left_out}"
    has = caller.role.title if caller.role else "no role"
    if caller.name == FUNCTION_KEY:
        return f"function keys have the role {has} here; {role.title} is needed"
    return f"the application role {role.value_in_entra} is needed; you have {has}"


def _reaches(caller: Caller, role: Role, vault: str | None, name: str | None, authority: str | None) -> bool:
    return any(
        _role(grant) >= role
        and (vault is None or _has(grant, vault, name))
        and (authority is None or allows_authority(grant, authority))
        and (role < Role.ADMINISTRATOR or not _narrow(grant, vault, authority))
        for grant in caller.grants
    )


def _narrow(grant: Grant, vault: str | None, authority: str | None) -> bool:
    """Whether a grant is for less than an Administrator changes: all of a vault, or an authority for all vaults."""
    everywhere = vault is None and authority is not None
    return bool(grant.certificates or grant.subjects or (everywhere and grant.vaults))


def _has(grant: Grant, vault: str, name: str | None) -> bool:
    return allows_vault(grant, vault) and (name is None or name_allowed(grant.certificates, name))


def _limits(grant: Grant, wanted: Wanted) -> Iterator[str]:
    """What a grant does not allow, one by one."""
    if not _allows_origin(grant, wanted):
        yield f"authority {wanted.authority}"
    names = replace(wanted.names, dns_names=wanted.names.dns_names + wanted.more_names)
    refused = names_not_allowed(grant.subjects, names, wanted.unknown_names)
    yield from (f"the name {name}" for name in refused)
    if grant.subjects and names == SubjectNames() and not wanted.unknown_names:
        yield "a certificate without any name"


def _allows_origin(grant: Grant, wanted: Wanted) -> bool:
    """Whether the grant is for the authority; of Key Vault's issuers, those with names that no authority can have."""
    if wanted.managed:
        return not grant.authorities or wanted.authority in grant.authorities
    issuers = [name for name in grant.authorities if not ALIAS.fullmatch(name)]
    is_ordered = wanted.authority.lower() != UNKNOWN.lower()
    return not grant.authorities or not is_ordered or wanted.authority.lower() in map(str.lower, issuers)


def _role(grant: Grant) -> Role:
    return Role[grant.role.upper()]
