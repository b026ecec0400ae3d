"""Find the chain of a certificate among the certificates of a file or an answer (RFC 5280, section 6)."""

import itertools
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from certrelay.errors import Unverified
from certrelay.pki import extensions
from certrelay.pki.certificate import Unreadable, dated, has_broken_hash, named, quoted

MAX_CHAIN, MAX_SIGNATURES = 10, 200
SIGNATURES_KNOWN = 256  # whatever is compared: both certificates, with all their bytes
MAX_CLOCK_SKEW, MIN_TIME_LEFT = timedelta(hours=48), timedelta(hours=1)


def ordered_chain(
    certificates: Iterable[x509.Certificate], public_key: PublicKeyTypes, now: datetime, *, tolerate_gap: bool = False
) -> tuple[x509.Certificate, ...]:
    """The chain from the certificate of `public_key`, leaf first, each signed by the next; at most 10 certificates.

    Only issuers that may issue certificates and are valid at `now` (UTC) count, unless the leaf has no other. Of
    several paths the shortest one to a self-signed root is chosen; without a root, the longest one. Certificates that
    are not on it are left out.

    Raises Unverified if no certificate has the key, if more than 200 signatures would have to be checked, and, unless
    `tolerate_gap`, if the chain evidently should continue: none of the other certificates signed the leaf, or one that
    has the issuer's name did not sign the last certificate."""
    known = list(dict.fromkeys(certificates))
    leaves = [certificate for certificate in known if certificate.public_key() == public_key]
    if not leaves:
        raise Unverified("no certificate has this public key")
    leaf = max(leaves, key=lambda each: (is_current(each, now), each.not_valid_before_utc))
    issuers = _Issuers(known)
    chain = issuers.way_up(leaf, now)
    if len(chain) > MAX_CHAIN:
        raise Unverified(f"the chain is longer than {MAX_CHAIN} certificates; have another, shorter chain made")
    if not tolerate_gap:
        issuers.verify_end(chain, [each for each in known if each not in leaves])
    return tuple(chain)


def without_root(chain: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The chain up to its self-signed root; a self-signed leaf stays."""
    return tuple(chain[:-1] if len(chain) > 1 and is_self_signed(chain[-1]) else chain)


def left_out(
    given: Iterable[x509.Certificate],
    chain: Sequence[x509.Certificate],
    unreadable: Iterable[Unreadable],
    now: datetime,
) -> list[str]:
    """A sentence for each certificate that is not in the chain, with its dates and the reason.

    Raises Unverified if an unreadable certificate has the name of the chain's next issuer."""
    top = chain[-1]
    if top.issuer != top.subject:
        wanted = top.issuer.public_bytes()
        for one in unreadable:
            if one.subject == wanted:
                raise Unverified(one.refusal)
    sentences = [
        f"{dated(one)} was left out: {_why_left_out(one, top, now)}" for one in dict.fromkeys(given) if one not in chain
    ]
    return sentences + [one.left_out for one in unreadable]


def is_current(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it stays valid for at least an hour, and is valid already or will be within 48 hours."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ends - now >= MIN_TIME_LEFT and begins - now <= MAX_CLOCK_SKEW


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether its own key signed it. A SHA-1 or MD5 signature of a root is not verified: nobody relies on it."""
    return is_signed_by(certificate, certificate)


@lru_cache(SIGNATURES_KNOWN)
def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Compares the name and verifies the signature; that of an authority's own certificates is verified once.

    cryptography does not verify SHA-1 and MD5 signatures. For these the names and key identifiers are compared, and
    `verify_answer` then refuses the certificate for its hash."""
    if certificate.issuer != issuer.subject:
        return False
    if has_broken_hash(certificate):
        return _authority_key(certificate) in (None, _subject_key(issuer))
    with suppress(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        certificate.verify_directly_issued_by(issuer)
        return True
    return False


class _Issuers:
    """Who signed whom among the known certificates. The number of signature checks is limited."""

    def __init__(self, known: list[x509.Certificate]) -> None:
        self._by_name: dict[x509.Name, list[x509.Certificate]] = {}
        for certificate in known:
            self._by_name.setdefault(certificate.subject, []).append(certificate)
        self._answers: dict[x509.Certificate, list[x509.Certificate]] = {}
        self._signatures_left = MAX_SIGNATURES

    def of(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """Its issuers, including itself if it is self-signed.

        Issuers whose key identifier differs are tried only if no other one signed it."""
        if certificate not in self._answers:
            named_so = self._by_name.get(certificate.issuer, [])
            key = _authority_key(certificate)
            likely = [one for one in named_so if key is None or _subject_key(one) in (None, key)]
            found = self._signers(certificate, likely)
            self._answers[certificate] = found or self._signers(
                certificate, [one for one in named_so if one not in likely]
            )
        return self._answers[certificate]

    def way_up(self, leaf: x509.Certificate, now: datetime) -> list[x509.Certificate]:
        """The chosen path, leaf first."""
        chosen = self._breadth_first(leaf, now, only_usable=True)
        return chosen if len(chosen) > 1 or self.of(leaf) == [leaf] else self._breadth_first(leaf, now)

    def verify_end(self, chain: Sequence[x509.Certificate], others: Sequence[x509.Certificate]) -> None:
        """Raises Unverified if the chain ends although the other certificates show that it should continue."""
        top = chain[-1]
        if self.of(top):
            return
        namesake = next((one for one in self._by_name.get(top.issuer, []) if one != top), None)
        if namesake is not None:
            raise Unverified(
                f"the signature on {dated(top)} is not by the key of {dated(namesake)}, which has its issuer's name; "
                "send the issuer that signed it"
            )
        if len(chain) == 1 and others:
            raise Unverified(
                f"{named(others[0])} is not part of the leaf's chain: it is a stranger, or a certificate between them "
                f"is missing; send the issuer of {dated(top)}, which is named {quoted(top.issuer)}"
            )

    def _signers(self, certificate: x509.Certificate, candidates: list[x509.Certificate]) -> list[x509.Certificate]:
        self._signatures_left -= len(candidates)
        if self._signatures_left < 0:
            raise Unverified(
                f"too many certificates have the same names: more than {MAX_SIGNATURES} signatures would have to be "
                "checked; send only the certificates of the chain"
            )
        return [one for one in candidates if is_signed_by(certificate, one)]

    def _breadth_first(
        self, leaf: x509.Certificate, now: datetime, *, only_usable: bool = False
    ) -> list[x509.Certificate]:
        came_from: dict[x509.Certificate, x509.Certificate | None] = {leaf: None}
        level = [leaf]
        top = leaf
        while level:
            level.sort(key=lambda one: one.not_valid_after_utc, reverse=True)
            top = next((one for one in level if one in self.of(one)), level[0])
            if top in self.of(top):
                break
            above: dict[x509.Certificate, x509.Certificate] = {}
            for certificate in level:
                for issuer in self.of(certificate):
                    if issuer not in came_from and (not only_usable or _is_usable(issuer, now)):
                        above.setdefault(issuer, certificate)
            came_from |= above
            level = list(above)
        chain = [top]
        while (below := came_from[chain[-1]]) is not None:
            chain.append(below)
        return chain[::-1]


def _is_usable(issuer: x509.Certificate, now: datetime) -> bool:
    """Whether it is valid now, and a CA without restrictions that nobody knows."""
    faults = itertools.chain(extensions.issuer_faults(issuer, 0), extensions.extension_faults(issuer))
    return is_current(issuer, now) and next(faults, None) is None


def _why_left_out(certificate: x509.Certificate, top: x509.Certificate, now: datetime) -> str:
    if top.issuer == certificate.subject and top.issuer != top.subject and is_current(certificate, now):
        if not _is_usable(certificate, now):
            return "it is no certificate of an authority that may issue, or has restrictions that are not known"
        return f"it has the name of the issuer of {named(top)}, and did not sign it"  # else it were in the chain
    if certificate.not_valid_after_utc <= now:
        return "it has expired"
    return "it is not valid yet" if certificate.not_valid_before_utc > now else "the chain does not need it"


def _authority_key(certificate: x509.Certificate) -> bytes | None:
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return None


def _subject_key(certificate: x509.Certificate) -> bytes | None:
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return None
