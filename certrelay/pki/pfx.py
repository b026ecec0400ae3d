"""Read PFX files (PKCS#12, RFC 7292) bag by bag.

cryptography's reader refuses the whole file for one certificate that it cannot read, and derives keys whose cost is
hidden in an encrypted part. This reader does neither: see docs/decisions/0004-pfx-bag-by-bag.md.
"""

import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from certrelay.errors import Invalid
from certrelay.pki.der import INTEGER, Element, as_der, children, inside, integer, octets, oid
from certrelay.pki.password_encryption import (
    DIGESTS,
    HMACS,
    Budget,
    Derivation,
    Password,
    Unsupported,
    decrypted,
    decrypted_key,
    iterations,
    known,
    passwords,
    pbkdf2,
    pkcs12_key,
)

MAX_KEYS, MAX_NESTING = 20, 4
MAC_KEY_SIZES = (20, 64)  # octets
TOO_MANY_KEYS = f"there are more than {MAX_KEYS} private keys; export the one certificate alone, with its key"
UNSUPPORTED = (
    "the PFX is encrypted or protected in a way that is not supported; write it again: "
    "openssl pkcs12 -legacy -in FILE -out FILE.pem, then openssl pkcs12 -export -in FILE.pem -out NEW.pfx"
)
DAMAGED = "the PFX is damaged: it is cut off, or a part of it cannot be read; send the whole, original file"

_DATA, _SIGNED, _ENVELOPED, _ENCRYPTED = (oid(f"1.2.840.113549.1.7.{number}") for number in (1, 2, 3, 6))
_BAGS = {oid(f"1.2.840.113549.1.12.10.1.{number}"): number for number in range(1, 7)}
_KEY, _SHROUDED_KEY, _CERTIFICATE, _CRL, _SECRET, _NESTED = range(1, 7)
_X509, _PBMAC1 = oid("1.2.840.113549.1.9.22.1"), oid("1.2.840.113549.1.5.14")
_LEFT_OUT = {_CRL: "a certificate revocation list", _SECRET: "a secret key"}


@dataclass(slots=True)
class PfxContents:
    """Private keys (unencrypted PKCS#8, without duplicates) and certificates, in DER and in the order of the file.

    `left_out` names everything else."""

    keys: list[bytes] = field(default_factory=list, repr=False)
    certificates: list[bytes] = field(default_factory=list)
    left_out: dict[str, None] = field(default_factory=dict)


def open_pfx(data: bytes, password: str | None, budget: Budget) -> tuple[PfxContents, bool]:
    """Like `read_pfx`, but without the password if the PFX has none. Returns also whether the password was needed."""
    try:
        return read_pfx(data, password, budget), True
    except Invalid:
        if password:
            with suppress(Invalid):
                return read_pfx(data, None, budget), False
        raise


def read_pfx(data: bytes, password: str | None, budget: Budget) -> PfxContents:
    """Verify the MAC of the PFX `data`, if it has one, and decrypt its contents. Raises Invalid."""
    try:
        content, mac = _authenticated(data)
        found = _opened(content, mac, passwords(password), budget)
    except Unsupported:
        raise Invalid(UNSUPPORTED) from None
    except Invalid:
        raise
    except Exception:  # a parser on hostile bytes
        raise Invalid(DAMAGED) from None
    if found is None:
        reason = "the password is wrong" if password else "it needs a password"
        step = "give the password that it was exported with, or send the whole, original file"
        raise Invalid(f"the PFX cannot be opened: {reason}, or the file is damaged; {step}")
    return found


def _opened(content: bytes, mac: Element | None, attempts: Sequence[Password], budget: Budget) -> PfxContents | None:
    """None if no password fits. The last one whose MAC fits is the right one: what it does not open is damaged."""
    last = None
    for attempt in attempts:
        if mac is None or _fits(mac, content, attempt, budget):
            if found := _read(content, attempt, False, budget):
                return found
            last = attempt
    return None if mac is None or last is None else _read(content, last, True, budget)


def _read(content: bytes, password: Password, is_checked: bool, budget: Budget) -> PfxContents | None:
    """None if the password may be wrong: the contents cannot be read, and no MAC confirmed the password."""
    reader = _Reader(password, is_checked, budget)
    try:
        for safe in inside(content):
            reader.read_safe(safe)
    except (Unsupported, Invalid):
        raise
    except Exception:
        if is_checked:
            raise
        return None
    return reader.found


@dataclass(slots=True)
class _Reader:
    password: Password
    is_checked: bool
    budget: Budget
    found: PfxContents = field(default_factory=PfxContents)
    count: int = 0

    def read_safe(self, safe: Element) -> None:
        """A ContentInfo of the AuthenticatedSafe."""
        kind, wrapped = children(safe.content)
        [value] = children(wrapped.content)
        if kind.content == _ENVELOPED:
            raise Invalid(
                "the PFX is protected for accounts of Active Directory or for a certificate; export it with a password"
            )
        if kind.content == _ENCRYPTED:
            _, algorithm, ciphertext = inside(list(children(value.content))[1].whole)
            self.read_bags(decrypted(algorithm, octets(ciphertext), self.password, self.budget))
        elif kind.content == _DATA:
            self.read_bags(octets(value))
        else:
            raise ValueError("unknown content")

    def read_bags(self, contents: bytes, depth: int = 0) -> None:
        """SafeContents."""
        for bag in inside(contents):
            kind, wrapped = list(children(bag.content))[:2]
            [value] = children(wrapped.content)
            number = _BAGS.get(kind.content)
            if number in (_KEY, _SHROUDED_KEY):
                self._read_key(value, is_encrypted=number == _SHROUDED_KEY)
            elif number == _CERTIFICATE:
                form, certificate = children(value.content)
                if form.content == _X509:
                    self.found.certificates.append(octets(next(children(certificate.content))))
                else:
                    self.found.left_out["a certificate that is not X.509"] = None
            elif number == _NESTED and depth < MAX_NESTING:
                self.read_bags(value.whole, depth + 1)
            else:
                self.found.left_out[_LEFT_OUT.get(number or 0, "a part of an unknown kind")] = None

    def _read_key(self, value: Element, *, is_encrypted: bool) -> None:
        self.count += 1
        if self.count > MAX_KEYS:  # each may cost a key derivation
            raise Invalid(TOO_MANY_KEYS)
        if not is_encrypted:
            self._add_key(as_der(value))
            return
        algorithm, ciphertext = children(value.content)
        try:
            plain = decrypted_key(algorithm, octets(ciphertext), self.password, self.budget)
        except Unsupported:
            raise
        except ValueError:
            if not self.is_checked:
                raise
            raise Invalid(
                "the private key in the PFX is damaged, or has another password than the PFX; give both the same"
            ) from None
        self._add_key(plain)

    def _add_key(self, der: bytes) -> None:
        if der not in self.found.keys:
            self.found.keys.append(der)


def _authenticated(data: bytes) -> tuple[bytes, Element | None]:
    """The AuthenticatedSafe, and the MacData over it. Raises ValueError."""
    _, auth_safe, *mac = inside(data)
    kind, wrapped = children(auth_safe.content)
    if kind.content == _SIGNED:
        raise Unsupported("signed")
    return octets(next(children(wrapped.content))), mac[0] if mac else None


def _fits(mac: Element, content: bytes, password: Password, budget: Budget) -> bool:
    """Whether the MAC was made with this password: RFC 7292, appendix B.4, or PBMAC1 of RFC 9579."""
    digest_info, salt, *count = children(mac.content)
    algorithm, stated = children(digest_info.content)
    kind, *parameters = children(algorithm.content)
    if kind.content == _PBMAC1:
        kdf, scheme = children(parameters[0].content)
        digest = known(HMACS, next(children(scheme.content)).content)
        key = _pbmac1_key(list(children(kdf.content))[1])
    else:
        digest = known(DIGESTS, kind.content)
        key = pkcs12_key(digest, octets(salt), iterations(count[0]) if count else 1, 3)
    budget.spend(key.work)
    secret = key.derive(password.utf8 if kind.content == _PBMAC1 else password.utf16)
    return hmac.compare_digest(hmac.digest(secret, content, digest), octets(stated))


def _pbmac1_key(parameters: Element) -> Derivation:
    """RFC 9579: the size must be stated. With a short key, a PFX can be made that other passwords open as well."""
    sizes = [integer(each) for each in list(children(parameters.content))[2:] if each.tag == INTEGER]
    if not sizes or not MAC_KEY_SIZES[0] <= sizes[0] <= MAC_KEY_SIZES[1]:
        raise Unsupported("a MAC with a short key")
    return pbkdf2(parameters, sizes[0])
