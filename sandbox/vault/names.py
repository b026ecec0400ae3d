"""Distinguished names as Key Vault and .NET's `X500DistinguishedName` write them: in reverse order."""

import re
from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

_OIDS = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "L": NameOID.LOCALITY_NAME,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "C": NameOID.COUNTRY_NAME,
    "E": NameOID.EMAIL_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "STREET": NameOID.STREET_ADDRESS,
    "G": NameOID.GIVEN_NAME,
    "SN": NameOID.SURNAME,
    "T": NameOID.TITLE,
    "I": NameOID.INITIALS,
    "DESCRIPTION": x509.ObjectIdentifier("2.5.4.13"),
    "POSTALCODE": NameOID.POSTAL_CODE,
    "UID": NameOID.USER_ID,
}
_ALIASES = {
    "ST": "S",
    "EMAIL": "E",
    "EMAILADDRESS": "E",
    "GN": "G",
    "GIVENNAME": "G",
    "SURNAME": "SN",
    "TITLE": "T",
    "INITIALS": "I",
    "STREETADDRESS": "STREET",
}
_LABELS = {oid.dotted_string: label for label, oid in _OIDS.items()}
_IA5 = {NameOID.EMAIL_ADDRESS, NameOID.DOMAIN_COMPONENT}
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_OID = re.compile(r"(?:OID\.)?([0-2](?:\.[0-9]{1,10}){1,20})", re.IGNORECASE)
_LIMIT = 200  # characters, https://learn.microsoft.com/azure/key-vault/certificates/faq


def parse_name(text: str) -> x509.Name:
    """The X.509 name of a subject such as `CN=contoso.com, O="Contoso, Ltd"`.

    Raises ValueError if the text is not a distinguished name.
    """
    if not text.strip():
        return x509.Name([])
    relative = [
        x509.RelativeDistinguishedName([_attribute(part) for part in _split(item, "+")]) for item in _split(text, ",;")
    ]
    return x509.Name(reversed(relative))


def format_name(name: x509.Name) -> str:
    """The subject as the policy of an imported certificate shows it, e.g. `O=Contoso, S=Some-State, C=AU`."""
    return ", ".join(" + ".join(_print(attribute) for attribute in rdn) for rdn in reversed(name.rdns))


def _split(text: str, separators: str) -> Iterator[str]:
    """The parts between separators that are not inside quotes."""
    start, quoted = 0, False
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character in separators and not quoted:
            yield text[start:position]
            start = position + 1
    if quoted:
        raise ValueError("an unclosed quote")
    yield text[start:]


def _attribute(part: str) -> x509.NameAttribute[str]:
    label, equals, value = part.partition("=")
    label, value = label.strip(), value.strip()
    if not equals:
        raise ValueError("no attribute type")
    if value.startswith('"'):
        if len(value) < 2 or not value.endswith('"'):
            raise ValueError("text after a quoted value")
        value = value[1:-1].replace('""', '"')
    if not value or len(value) > _LIMIT:
        raise ValueError("an empty or a too long value")
    oid = _oid(label)
    return x509.NameAttribute(oid, value, _type=_string_type(oid, value))


def _oid(label: str) -> x509.ObjectIdentifier:
    upper = label.upper()
    known = _OIDS.get(_ALIASES.get(upper, upper))
    if known:
        return known
    match = _OID.fullmatch(label)
    if not match:
        raise ValueError("an unknown attribute type")
    return x509.ObjectIdentifier(match[1])


def _string_type(oid: x509.ObjectIdentifier, value: str) -> _ASN1Type:
    if oid in _IA5:
        value.encode("ascii")
        return _ASN1Type.IA5String
    return _ASN1Type.PrintableString if _PRINTABLE.fullmatch(value) else _ASN1Type.UTF8String


def _print(attribute: x509.NameAttribute[str | bytes]) -> str:
    dotted = attribute.oid.dotted_string
    value = attribute.value if isinstance(attribute.value, str) else attribute.value.hex()
    if re.search(r'[,+="\n<>#;]', value) or value != value.strip():
        value = '"' + value.replace('"', '""') + '"'
    return f"{_LABELS.get(dotted, 'OID.' + dotted)}={value}"
