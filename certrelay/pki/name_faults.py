"""Compare the names of a CSR or certificate with those that were asked, in the normal form of `names`.

The functions yield faults, which are sentences without a subject.
"""

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID

from certrelay.pki import names
from certrelay.pki.alternative_names import general_names, other_names
from certrelay.pki.subject import SubjectNames
from certrelay.pki.wording import listed

type Signed = x509.Certificate | x509.CertificateSigningRequest

_KINDS = {
    "dns_names": "DNS name",
    "email_addresses": "e-mail address",
    "ip_addresses": "IP address",
    "uris": "URI",
    "user_principal_names": "user principal name",
}
_PREFIXES = ("www.", "*.")


def csr_faults(request: x509.CertificateSigningRequest, asked: SubjectNames) -> Iterator[str]:
    """The CSR must have exactly the names asked, including the common name."""
    yield from _alternative_name_faults(request, names.names_of(request), asked, extra_names=False)
    if asked.common_name is not None and names.common_names(request)[-1:] != (asked.common_name,):
        yield f"lacks the common name {asked.common_name!r}"


def leaf_faults(
    leaf: x509.Certificate, request: x509.CertificateSigningRequest, asked: SubjectNames, *, extra_names: bool
) -> Iterator[str]:
    """The certificate must have the names asked, and no others; see `Limits` for `extra_names`.

    An e-mail address in the subject is a name as well (RFC 5280, section 4.1.2.6)."""
    found = names.names_of(leaf)
    yield from _alternative_name_faults(leaf, found, asked, extra_names=extra_names)
    if malformed := [str(name.value) for name in general_names(leaf) if _is_malformed(name)]:
        shown = listed(map(repr, malformed))
        yield f"has alternative names that no client matches, since they are not A-labels or end in a dot: {shown}"
    yield from _common_name_faults(found, asked)
    known = _subject_addresses(request) | {address.lower() for address in asked.email_addresses}
    strange = sorted(_subject_addresses(leaf) - known)
    if strange:
        yield f"has in its subject the e-mail {_several('address', strange)}, not requested"


def _alternative_name_faults(
    signed: Signed, found: SubjectNames, asked: SubjectNames, *, extra_names: bool
) -> Iterator[str]:
    """Missing and added names. Most authorities repeat the common name among the alternative names, which is fine."""
    for kind, label in _KINDS.items():
        got, wanted = set(getattr(found, kind)), set(getattr(asked, kind))
        if missing := sorted(wanted - got):
            yield f"lacks the {_several(label, missing)}"
        added = got - wanted - {asked.common_name}
        besides = {name for name in added if kind == "dns_names" and _is_besides(name, wanted | {asked.common_name})}
        if strange := sorted(added - besides):
            yield f"has the {_several(label, strange)}, not requested"
        if besides and not extra_names:
            hint = "ask for both names, or allow `extra_names` in the rules of the authority"
            yield f"has the {_several(label, sorted(besides))}, not requested; {hint}"
    if others := other_names(signed):
        yield f"has alternative names of other kinds, not requested: {listed(others)}"
    common = names.common_names(signed)
    if len(common) > 1:
        yield "has several common names"
    if common and not _is_asked(common[-1], asked):
        yield f"has the common name {common[-1]!r}, not requested"


def _is_malformed(name: x509.GeneralName) -> bool:
    """Whether it is right in its normal form only, which clients do not make of it."""
    match name:
        case x509.DNSName():
            return not name.value.isascii() or name.value.endswith(".")
        case x509.RFC822Name():
            return not name.value.isascii()
    return False


def _is_besides(name: str, asked: set[str | None]) -> bool:
    return any(
        name == f"{prefix}{other}" or other == f"{prefix}{name}"
        for other in asked
        for prefix in _PREFIXES
        if other is not None and not (prefix == "*." and name.startswith("*."))
    )


def _subject_addresses(signed: Signed) -> set[str]:
    return {str(one.value).lower() for one in signed.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)}


def _common_name_faults(found: SubjectNames, asked: SubjectNames) -> Iterator[str]:
    """An authority may drop the common name, unless it is a host name or address that is nowhere else."""
    wanted = asked.common_name
    stands = wanted is None or _is_asked(wanted, found)
    if not stands and (_is_host(wanted) or found == SubjectNames(found.common_name)):
        yield f"lacks the common name {wanted!r}"


def _is_asked(common_name: str, asked: SubjectNames) -> bool:
    alternatives = (*asked.dns_names, *asked.ip_addresses, *asked.email_addresses, *asked.user_principal_names)
    known = {name.casefold() for name in (asked.common_name or "", *alternatives)}
    return common_name.casefold() in known


def _is_host(name: str | None) -> bool:
    try:
        return name is not None and ("." in name or ":" in name) and bool(names.host_name(name))
    except ValueError:
        return False


def _several(label: str, those: list[str]) -> str:
    """`DNS name 'a'`, `DNS names 'a', 'b'`."""
    plural = "" if len(those) == 1 else "es" if label.endswith("s") else "s"
    return f"{label}{plural} {listed(map(repr, those))}"
