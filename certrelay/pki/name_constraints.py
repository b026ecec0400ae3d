"""Name constraints, RFC 5280, section 4.2.1.10: which names an issuer may not certify.

Where the RFC leaves a kind of name without a rule (other names, say), a constraint on it refuses all such names.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

type _Subtrees = dict[type[x509.GeneralName], list[x509.GeneralName]]


MAX_COMPARISONS = 400_000  # in a chain; about half a second
_ADDRESS = re.compile(r"[!-;=?-~]+@[!-;=?A-~]+")
_SLOW = (x509.DirectoryName, x509.UniformResourceIdentifier)


def comparisons(subject: x509.Name, alternatives: Sequence[x509.GeneralName], issuer: x509.Certificate) -> int:
    """How many comparisons `names_not_allowed` makes. Names that are slow to compare count tenfold."""
    constraints = _constraints(issuer)
    if constraints is None:
        return 0
    kinds = Counter(map(type, alternatives))
    kinds[x509.RFC822Name] += len(_addresses(subject))
    trees = (*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ()))
    return sum(kinds[type(tree)] * (10 if isinstance(tree, _SLOW) else 1) for tree in trees)


def names_not_allowed(
    subject: x509.Name, alternatives: Sequence[x509.GeneralName], issuer: x509.Certificate, *, is_ca: bool = False
) -> list[str]:
    """The names, as a message shows them, that the issuer's name constraints do not allow. A CA's common name is none
    of a host."""
    constraints = _constraints(issuer)
    if constraints is None:
        return []
    names = [*alternatives, *([x509.DirectoryName(subject)] if subject.rdns else [])]
    if not is_ca and not any(isinstance(name, x509.DNSName) for name in alternatives):
        # Verifiers take a common name for a host's when there is no other (OpenSSL does).
        names += [x509.DNSName(host) for host in _host_names(subject)]
    permitted, excluded = _by_kind(constraints.permitted_subtrees), _by_kind(constraints.excluded_subtrees)
    barred = [_shown(name) for name in names if _bars(permitted, excluded, name)]
    return barred + [address for address in _addresses(subject) if _bars_address(permitted, excluded, address)]


def _constraints(issuer: x509.Certificate) -> x509.NameConstraints | None:
    try:
        return issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def _by_kind(subtrees: Iterable[x509.GeneralName] | None) -> _Subtrees:
    found: _Subtrees = {}
    for tree in subtrees or ():
        found.setdefault(type(tree), []).append(tree)
    return found


def _host_names(subject: x509.Name) -> list[str]:
    found = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [name for name in found if name.isascii() and "." in name and " " not in name and "@" not in name]


def _addresses(subject: x509.Name) -> list[str]:
    """The e-mail addresses in the subject. Verifiers look at them even where there are alternative names (OpenSSL
    does)."""
    return [str(one.value) for one in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]


def _bars_address(permitted: _Subtrees, excluded: _Subtrees, address: str) -> bool:
    """What is no address is refused where addresses are constrained."""
    allowed, forbidden = permitted.get(x509.RFC822Name), excluded.get(x509.RFC822Name)

    def is_within(trees: list[x509.GeneralName]) -> bool:
        return any(_email_within(str(tree.value), address) for tree in trees)

    if not _ADDRESS.fullmatch(address):
        return bool(allowed or forbidden)
    return is_within(forbidden or []) or (allowed is not None and not is_within(allowed))


def _bars(permitted: _Subtrees, excluded: _Subtrees, name: x509.GeneralName) -> bool:
    allowed = permitted.get(type(name))
    return any(_touches(tree, name) for tree in excluded.get(type(name), ())) or (
        allowed is not None and not any(_within(tree, name) for tree in allowed)
    )


def _touches(tree: x509.GeneralName, name: x509.GeneralName) -> bool:
    """Whether an excluded subtree holds the name, or a name that a wildcard stands for."""
    match tree, name:
        case x509.DNSName(), x509.DNSName() if name.value.startswith("*."):
            label, _, parent = tree.value.lower().partition(".")
            return _within(tree, name) or (label != "" and parent == name.value[2:].lower())
        case (x509.DNSName(), x509.DNSName()) | (x509.RFC822Name(), x509.RFC822Name()):
            return _within(tree, name)
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            return _within(tree, name) or _host(name) is None
        case (x509.IPAddress(), x509.IPAddress()) | (x509.DirectoryName(), x509.DirectoryName()):
            return _within(tree, name)
    return True


def _within(tree: x509.GeneralName, name: x509.GeneralName) -> bool:
    match tree, name:
        case x509.DNSName(), x509.DNSName():
            return _dns_within(tree.value.lower(), name.value.lower())
        case x509.RFC822Name(), x509.RFC822Name():
            return _email_within(tree.value, name.value)
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            host = _host(name)
            return host is not None and _host_within(tree.value.lower(), host)
        case x509.IPAddress(), x509.IPAddress():
            return _address_within(tree.value, name.value)
        case x509.DirectoryName(), x509.DirectoryName():
            return _comparable(name.value)[: len(tree.value.rdns)] == _comparable(tree.value)
    return False


def _comparable(name: x509.Name) -> list[frozenset[tuple[x509.ObjectIdentifier, str | bytes]]]:
    """Ignores case and repeated spaces (RFC 5280, section 7.1); like OpenSSL, only the case of ASCII letters."""

    def folded(value: str | bytes) -> str | bytes:
        return " ".join(value.split()).encode().lower() if isinstance(value, str) else value

    return [frozenset((one.oid, folded(one.value)) for one in part) for part in name.rdns]


def _dns_within(tree: str, host: str) -> bool:
    """Any labels may stand before the constraint; a leading dot asks for at least one, as OpenSSL reads it."""
    if not tree:
        return True
    return host.endswith(tree) if tree.startswith(".") else host == tree or host.endswith(f".{tree}")


def _host_within(tree: str, host: str) -> bool:
    """One host, or with a leading dot all hosts below."""
    return host.endswith(tree) if tree.startswith(".") else host == tree


def _email_within(tree: str, address: str) -> bool:
    if "@" in tree:
        local, _, host = tree.rpartition("@")
        own_local, _, own_host = address.rpartition("@")
        return (local, host.lower()) == (own_local, own_host.lower())
    return not tree or _host_within(tree.lower(), address.rpartition("@")[2].lower())


def _host(name: x509.UniformResourceIdentifier) -> str | None:
    """The host of a URI; None where it has none or an address, which no constraint on URIs can hold."""
    try:
        host = urlsplit(name.value).hostname
    except ValueError:
        return None
    try:
        ipaddress.ip_address(host or "::")
    except ValueError:
        return host
    return None


def _address_within(tree: object, address: object) -> bool:
    if isinstance(tree, ipaddress.IPv4Network | ipaddress.IPv6Network) and isinstance(
        address, ipaddress.IPv4Address | ipaddress.IPv6Address
    ):
        return address in tree
    return False


def _shown(name: x509.GeneralName) -> str:
    match name:
        case x509.DirectoryName():
            return f"the subject {name.value.rfc4514_string()}"
        case x509.OtherName():
            return "a user principal name"
    return str(name.value)
