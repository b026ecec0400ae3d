"""Extended key usages by name and OID (RFC 5280, section 4.2.1.12). Without cryptography, for the settings need it."""

import re
from collections.abc import Iterable

from certrelay.pki.wording import listed

OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,38})){1,20}", re.ASCII)
ANY, SERVER_AUTH, CLIENT_AUTH = "2.5.29.37.0", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
PURPOSES = {
    ANY: "anyExtendedKeyUsage",
    SERVER_AUTH: "serverAuth",
    CLIENT_AUTH: "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.5": "ipsecEndSystem",
    "1.3.6.1.5.5.7.3.6": "ipsecTunnel",
    "1.3.6.1.5.5.7.3.7": "ipsecUser",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "1.3.6.1.5.5.7.3.17": "ipsecIKE",
    "1.3.6.1.5.2.3.4": "pkInitClientAuth",
    "1.3.6.1.5.2.3.5": "pkInitKDC",
    "1.3.6.1.4.1.311.10.3.4": "encryptingFileSystem",
    "1.3.6.1.4.1.311.10.3.12": "documentSigning",
    "1.3.6.1.4.1.311.20.2.2": "smartCardLogon",
    "1.3.6.1.4.1.311.54.1.2": "remoteDesktopAuth",
}


def oid_of(purpose: str) -> str:
    """The dotted OID of an extended key usage, given by its name or as an OID. Raises ValueError."""
    named = {name.lower(): oid for oid, name in PURPOSES.items()}
    oid = named.get(purpose.lower(), purpose)
    if not OID.fullmatch(oid):
        raise ValueError(f"must be an extended key usage such as serverAuth or 1.3.6.1.5.5.7.3.1, not {purpose!r}")
    return oid


def usages(names: Iterable[str] | None) -> str:
    """Key usages, or whatever else is listed, in a sentence."""
    return listed(sorted(names or ())) or "none"


def purposes(oids: Iterable[str] | None) -> str:
    """Extended key usages by the names that RFC 5280 and Microsoft give them; others as OIDs."""
    return usages(PURPOSES.get(oid, oid) for oid in oids or ())
