"""Normalise the names in a subject and its alternative names (RFC 5280, sections 4.1.2.6 and 4.2.1.6).

`Münch.Example.` and `xn--mnch-0ra.example` are one name, as are `::1` and `0:0:0:0:0:0:0:1`. Names that were asked and
names in a certificate are compared in their normal form only.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import urlsplit

import idna
from cryptography import x509
from cryptography.x509.oid import NameOID

from certrelay.errors import Fault, Invalid
from certrelay.pki.alternative_names import general_names, is_user_principal_name
from certrelay.pki.der import content, element_size
from certrelay.pki.distinguished_names import attributes
from certrelay.pki.subject import SubjectNames

MAX_COMMON_NAME = 64  # ub-common-name of RFC 5280, appendix A.1
MAX_NAME = 2048

# Names of Windows hosts may have underscores. Public trust forbids them (see public_trust), private authorities do not.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\[\]_a-z~]+")


def subject_names(
    subject: str | None,
    dns_names: Iterable[str] = (),
    email_addresses: Iterable[str] = (),
    ip_addresses: Iterable[str] = (),
    uris: Iterable[str] = (),
    user_principal_names: Iterable[str] = (),
) -> SubjectNames:
    """The names asked, normalised, without duplicates, in the order of their first appearance.

    `subject` is an X.500 string as Key Vault writes it (`CN=www.contoso.example, O=Contoso`). Raises Invalid with a
    fault for every malformed name, whose pointer is the parameter and the index: `/dns_names/2`, `/subject`."""
    faults: list[Fault] = []

    def normal(kind: str, names: Iterable[str], normalise: Callable[[str], str]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for index, name in enumerate(names):
            try:
                found[normalise(name)] = None
            except ValueError as error:
                faults.append(Fault(f"/{kind}/{index}", f"{_shown(name)} {error}"))
        return tuple(found)

    common = None
    try:
        common = common_name(subject) if subject else None
    except Invalid as error:
        faults += error.faults
    names = SubjectNames(
        common_name=common,
        dns_names=normal("dns_names", dns_names, dns_name),
        email_addresses=normal("email_addresses", email_addresses, email_address),
        ip_addresses=normal("ip_addresses", ip_addresses, ip_address),
        uris=normal("uris", uris, uri),
        user_principal_names=normal("user_principal_names", user_principal_names, user_principal_name),
    )
    if faults:
        raise Invalid(faults)
    return names


def common_name(subject: str) -> str | None:
    """The normalised common name of an X.500 string; None if it has none. Raises Invalid, pointer `/subject`."""
    found = [value for kind, value in attributes(subject) if kind in ("CN", NameOID.COMMON_NAME.dotted_string)]
    if len(found) > 1:
        raise Invalid([Fault("/subject", "the subject has several common names; one is allowed")])
    if not found:
        return None
    try:
        return _checked_common_name(found[0])
    except ValueError as error:
        raise Invalid([Fault("/subject", f"the common name {_shown(found[0])} {error}")]) from None


def names_of(signed: x509.Certificate | x509.CertificateSigningRequest) -> SubjectNames:
    """The names of a certificate or CSR: normalised if they are well-formed, else unchanged.

    Kinds of names that SubjectNames lacks are left out: see `alternative_names.other_names`. Raises Invalid when the
    subject or the alternative names cannot be read."""
    names = general_names(signed)
    common = common_names(signed)
    return SubjectNames(
        common_name=common[-1] if common else None,
        dns_names=_values(names, x509.DNSName, dns_name),
        email_addresses=_values(names, x509.RFC822Name, email_address),
        ip_addresses=_values(names, x509.IPAddress, ip_address),
        uris=_values(names, x509.UniformResourceIdentifier, uri),
        user_principal_names=tuple(
            dict.fromkeys(_lenient(user_principal_name, _upn(n)) for n in names if is_user_principal_name(n))
        ),
    )


def common_names(signed: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """Every common name of the subject, normalised if it is well-formed. There should be one at most."""
    try:
        found = signed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        raise Invalid("the subject cannot be read") from None
    return tuple(
        _lenient(_checked_common_name, value.decode("latin-1") if isinstance(value := name.value, bytes) else value)
        for name in found
    )


def dns_name(name: str) -> str:
    """A-labels in lower case without the trailing dot; `*` as the whole left-most label. Raises ValueError.

    RFC 1034, section 3.5; RFC 5890; RFC 9525, section 6.3."""
    wildcard, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    if "*" in rest:
        raise ValueError("has a wildcard that is not the whole left-most label")
    if is_ip_address(name):
        raise ValueError("is an IP address, not a DNS name")
    host = wildcard + _host(rest)
    if wildcard and "." not in host[2:]:
        raise ValueError("is a wildcard right below a top-level domain")
    return host


def host_name(name: str) -> str:
    """A DNS name or an IP address. Raises ValueError."""
    return ip_address(name) if is_ip_address(name) else dns_name(name)


def email_address(name: str) -> str:
    """The mailbox of RFC 5321 with its domain as A-labels in lower case. Raises ValueError."""
    local, at, domain = name.rpartition("@")
    if not at or len(local) > 64 or not _LOCAL_PART.fullmatch(local) or domain.startswith("*"):
        raise ValueError("is not an e-mail address")
    return f"{local}@{dns_name(domain)}"


def ip_address(name: str) -> str:
    """The address in the canonical text of RFC 5952. Raises ValueError."""
    if "%" in name or not is_ip_address(name):
        raise ValueError("is not an IP address")
    return str(ipaddress.ip_address(name))


def uri(name: str) -> str:
    """The absolute URI (RFC 3986, section 4.3) with its scheme and host in lower case. Raises ValueError."""
    if not _URI.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError("is not an absolute URI in ASCII")
    try:
        parts = urlsplit(name)
        host = parts.hostname
    except ValueError:
        raise ValueError("is not an absolute URI in ASCII") from None
    scheme, _, rest = name.partition(":")
    if host and parts.netloc:
        user, at, place = parts.netloc.rpartition("@")
        rest = rest.replace(parts.netloc, f"{user}{at}{place.lower()}", 1)
    return f"{scheme.lower()}:{rest}"


def user_principal_name(name: str) -> str:
    """`user@suffix` with the suffix in lower case. Raises ValueError."""
    user, at, suffix = name.rpartition("@")
    if not at or not user or not suffix or not name.isprintable() or " " in suffix or len(name) > MAX_NAME:
        raise ValueError("is not a user principal name")
    return f"{user}@{suffix.lower()}"


def is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host(name: str) -> str:
    if len(name.removesuffix(".")) > MAX_NAME:  # what follows is quadratic
        raise ValueError("is not a DNS name")
    try:
        ascii_name = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode()
        labels = ascii_name.removesuffix(".").split(".")
        for label in labels:
            # Valid Punycode is enough (Baseline Requirements, "P-Label"): certificates exist for emoji domains.
            if label.startswith("xn--") and not _is_punycode(label[4:]):
                raise ValueError("is not a DNS name")
    except (idna.IDNAError, UnicodeError):
        raise ValueError("is not a DNS name") from None
    host = ".".join(labels)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is not a DNS name")
    if labels[-1].isdigit():
        raise ValueError("is not a DNS name: its last label is a number")
    return host


def _is_punycode(text: str) -> bool:
    decoded = text.encode().decode("punycode")
    return not decoded.isascii() and decoded.isprintable()


def _checked_common_name(name: str) -> str:
    """A common name that is a host name or address is normalised as one. X.520 allows 64 characters."""
    if not name.strip() or not name.isprintable():
        raise ValueError("is empty or has unprintable characters")
    if "." in name or ":" in name:
        with suppress(ValueError):
            name = host_name(name)
    if "*" in name and not name.startswith("*."):
        raise ValueError("has a wildcard that is not the whole left-most label")
    if len(name) > MAX_COMMON_NAME:
        raise ValueError(f"is longer than {MAX_COMMON_NAME} characters; put it among the DNS names instead")
    return name


def _values(
    names: tuple[x509.GeneralName, ...], kind: type[x509.GeneralName], normalise: Callable[[str], str]
) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_lenient(normalise, str(name.value)) for name in names if isinstance(name, kind)))


def _upn(name: x509.GeneralName) -> str:
    """The UTF8String in the otherName; another type is returned in hex, which equals no name that can be asked."""
    value: bytes = name.value
    if value.startswith(b"\x0c") and element_size(value) == len(value):
        with suppress(UnicodeDecodeError):
            return content(value).decode()
    return value.hex()


def _lenient(normalise: Callable[[str], str], name: str) -> str:
    try:
        return normalise(name)
    except ValueError:
        return name


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
