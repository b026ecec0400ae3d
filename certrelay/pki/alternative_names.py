"""The subject alternative names of a certificate or CSR, not normalised (RFC 5280, section 4.2.1.6)."""

from cryptography import x509

from certrelay.errors import Invalid
from certrelay.pki.certificate import with_one_extension

_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
_OTHER_NAMES = {
    "1.3.6.1.5.2.2": "Kerberos principal",
    "1.3.6.1.4.1.311.25.1": "GUID of a domain controller",
    "1.3.6.1.5.5.7.8.4": "hardware module",
    "1.3.6.1.5.5.7.8.5": "XMPP address",
    "1.3.6.1.5.5.7.8.7": "DNS service",
    "1.3.6.1.5.5.7.8.9": "mailbox in UTF-8",
}
_USER_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")


def general_names(signed: x509.Certificate | x509.CertificateSigningRequest) -> tuple[x509.GeneralName, ...]:
    """The subject alternative names, not normalised. A malformed extension other than this one does not matter.

    Raises Invalid when the names cannot be read."""
    try:
        return _alternatives(signed)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        pass
    try:
        if isinstance(signed, x509.Certificate):
            return _alternatives(with_one_extension(signed, _SUBJECT_ALTERNATIVE_NAME))
    except (ValueError, IndexError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        pass
    raise Invalid("the subject alternative names cannot be read")


def other_names(signed: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The alternative names that neither SubjectNames nor Key Vault can express: `directoryName CN=a`,
    `registeredID 1.2.3`, `otherName Kerberos principal`. Raises Invalid when the names cannot be read."""
    known = (x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.UniformResourceIdentifier)
    return tuple(
        _kind_and_value(name)
        for name in general_names(signed)
        if not isinstance(name, known) and not is_user_principal_name(name)
    )


def is_user_principal_name(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.OtherName) and name.type_id == _USER_PRINCIPAL_NAME


def _alternatives(signed: x509.Certificate | x509.CertificateSigningRequest) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _kind_and_value(name: x509.GeneralName) -> str:
    match name:
        case x509.DirectoryName():
            return f"directoryName {name.value.rfc4514_string()}"
        case x509.RegisteredID():
            return f"registeredID {name.value.dotted_string}"
        case x509.OtherName():
            return f"otherName {_OTHER_NAMES.get(name.type_id.dotted_string, name.type_id.dotted_string)}"
    return type(name).__name__
