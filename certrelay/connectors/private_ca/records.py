"""The records of a private CA, in blobs below the name of its certificate.

    intents/<operation id>.json   serial number and validity, decided before anything is signed
    issued/<serial>.cer           every certificate, DER; an order is complete when this exists
    revoked/<serial>-<0,1,2>.json when and why, one for each gravity; also in the blob's metadata, so that listing the
                                  blobs is enough to build a CRL

Each is written once and never changed. Serial numbers have 32 lower-case hexadecimal digits.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from urllib.parse import quote

from certrelay.connectors.base import RevocationReason, SigningRequest
from certrelay.connectors.private_ca.profile import Decided
from certrelay.storage.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class Intent:
    """`issuer_version` is the version of the CA certificate; `request` is the digest of the request."""

    request: str
    issuer_version: str
    decided: Decided


@dataclass(frozen=True, slots=True)
class Revocation:
    serial: int
    revoked_at: datetime
    reason: RevocationReason
    not_after: datetime


def request_digest(request: SigningRequest) -> str:
    """The digest of what an operation id stands for: CSR, names and kind, but not the requested validity."""
    asked = [request.csr.hex(), repr(request.names), request.is_ca]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class Records:
    def __init__(self, store: BlobStore, authority: str) -> None:
        self._store, self._root = store, authority

    def intent(self, operation_id: str) -> Intent | None:
        found = self._store.read(self._intent_name(operation_id))
        if found is None:
            return None
        kept = json.loads(found[0])
        times = _time(kept["not_before"]), _time(kept["not_after"])
        return Intent(kept["request"], kept["issuer_version"], Decided(int(kept["serial"], 16), *times))

    def keep_intent(self, operation_id: str, intent: Intent) -> Intent:
        """Store and return this intent, or return the one that another call stored first."""
        decided = intent.decided
        kept = {
            "operation": operation_id,
            "request": intent.request,
            "issuer_version": intent.issuer_version,
            "serial": _hex(decided.serial),
            "not_before": int(decided.not_before.timestamp()),
            "not_after": int(decided.not_after.timestamp()),
        }
        name = self._intent_name(operation_id)
        if self._store.create(name, json.dumps(kept).encode(), "application/json"):
            return intent
        earlier = self.intent(operation_id)
        if earlier is None:
            raise LookupError(f"the record of operation {operation_id} was deleted while it was read")
        return earlier

    def issued(self, serial: int) -> bytes | None:
        """The certificate, DER."""
        found = self._store.read(f"{self._root}/issued/{_hex(serial)}.cer")
        return found[0] if found else None

    def keep_issued(self, serial: int, certificate: bytes, operation_id: str) -> bytes:
        """Store and return this certificate, or return the one that another call stored first under the same serial."""
        name = f"{self._root}/issued/{_hex(serial)}.cer"
        metadata = {"operation": quote(operation_id, safe="")}
        if self._store.create(name, certificate, "application/pkix-cert", metadata):
            return certificate
        return self.issued(serial) or certificate

    def keep_revoked(self, revocation: Revocation) -> None:
        """Store a revocation. The first one of a certificate counts, until one for a graver reason is stored."""
        facts = {
            "revoked_at": str(int(revocation.revoked_at.timestamp())),
            "reason": revocation.reason.value,
            "not_after": str(int(revocation.not_after.timestamp())),
        }
        serial = _hex(revocation.serial)
        name = f"{self._root}/revoked/{serial}-{_gravity(revocation.reason)}.json"
        self._store.create(name, json.dumps({"serial": serial, **facts}).encode(), "application/json", facts)

    def revoked(self) -> Iterator[Revocation]:
        """Each revoked certificate once, with the time of its first revocation and its gravest reason."""
        listed = map(_revocation, self._store.list(f"{self._root}/revoked/"))
        for _, some in groupby(listed, key=lambda one: one.serial):
            ordered = list(some)
            yield replace(ordered[-1], revoked_at=min(one.revoked_at for one in ordered))

    def _intent_name(self, operation_id: str) -> str:
        return f"{self._root}/intents/{quote(operation_id, safe='')}.json"


def _gravity(reason: RevocationReason) -> int:
    """A hold may become final (RFC 5280, section 5.3.1), and a key may prove to be compromised later."""
    return {RevocationReason.CERTIFICATE_HOLD: 0, RevocationReason.KEY_COMPROMISE: 2}.get(reason, 1)


def _revocation(listed: tuple[str, Mapping[str, str]]) -> Revocation:
    name, facts = listed
    serial = int(name.rpartition("/")[2].partition("-")[0], 16)
    return Revocation(serial, _time(facts["revoked_at"]), RevocationReason(facts["reason"]), _time(facts["not_after"]))


def _hex(serial: int) -> str:
    return f"{serial:032x}"


def _time(seconds: int | str) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
