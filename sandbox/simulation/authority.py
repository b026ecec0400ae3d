"""The authorities of the simulation: they sign with real keys, delay and limit orders, lose answers and go down."""

import random
from datetime import datetime, timedelta
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrelay.connectors.base import (
    ConnectorSettings,
    Context,
    Feature,
    Issued,
    Outcome,
    Pending,
    RenewalWindow,
    SigningRequest,
    Unavailable,
)

ROOT_DAYS = 3650
LIMIT_WINDOW = timedelta(hours=1)
WINDOW_BEGINS, WINDOW_ENDS = 0.5, 0.53  # of the suggested window (RFC 9773), as shares of the lifetime


class SimulatedSettings(ConnectorSettings):
    """`wait_hours`: the longest time an order takes. `orders_per_hour`: further orders are refused."""

    wait_hours: float = 0
    orders_per_hour: int | None = None


class SimulatedAuthority:
    """Finds an earlier order by its operation id. The simulation sets `outages` (begin, end), `chance` and
    `lost_answers` (a probability). `over_limit` counts orders beyond the limit, `lost` the lost answers."""

    Settings: ClassVar[type[ConnectorSettings]] = SimulatedSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def __init__(self, settings: SimulatedSettings, context: Context) -> None:
        self.name, self.now, self._settings = context.authority, context.now, settings
        self.outages: tuple[tuple[datetime, datetime], ...] = ()
        self.lost_answers = 0.0
        self.chance = random.Random(0)  # noqa: S311 - no secret
        self.over_limit = self.lost = self.requests_while_down = 0
        self._ready: dict[str, datetime] = {}
        self._recent: list[datetime] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._root = self._self_signed()

    def submit(self, request: SigningRequest) -> Outcome:
        refusal = self._refusal(request)
        if refusal:
            return refusal
        if request.operation_id not in self._ready:
            wait = timedelta(hours=self.chance.uniform(0, self._settings.wait_hours))
            self._ready[request.operation_id] = self.now() + wait
            self._recent.append(self.now())
        return self._look(request)

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        return self._refusal(request) or self._look(request)

    def cancel(self, reference: str) -> None:
        self._ready.pop(reference, None)

    def _refusal(self, request: SigningRequest) -> Unavailable | None:
        now = self.now()
        if any(begin <= now < end for begin, end in self.outages):
            self.requests_while_down += 1
            if self.chance.random() < 0.5:
                raise ConnectionError("connection refused")
            return Unavailable("the authority is down")
        self._recent = [moment for moment in self._recent if moment > now - LIMIT_WINDOW]
        limit = self._settings.orders_per_hour
        if limit is not None and request.operation_id not in self._ready and len(self._recent) >= limit:
            self.over_limit += 1
            return Unavailable("too many orders", retry_after=600)
        return None

    def _look(self, request: SigningRequest) -> Outcome:
        if self.chance.random() < self.lost_answers:
            self.lost += 1
            raise TimeoutError("the answer was lost")
        left = (self._ready[request.operation_id] - self.now()).total_seconds()
        if left > 0:
            return Pending(request.operation_id, retry_after=min(left, 1800))
        return Issued(self._signed(request))

    def _signed(self, request: SigningRequest) -> bytes:
        csr = x509.load_der_x509_csr(request.csr)
        builder = x509.CertificateBuilder(
            self._root.subject, csr.subject, csr.public_key(), x509.random_serial_number(),
            self.now() - timedelta(minutes=1), request.not_after,
        )  # fmt: skip
        for extension in csr.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        leaf = builder.sign(self._key, hashes.SHA256())
        return leaf.public_bytes(Encoding.PEM) + self._root.public_bytes(Encoding.PEM)

    def _self_signed(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Simulated {self.name}")])
        begins = self.now() - timedelta(days=1)
        builder = x509.CertificateBuilder(
            name, name, self._key.public_key(), x509.random_serial_number(), begins, begins + timedelta(days=ROOT_DAYS)
        )
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        return builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())


class RenewalInfoAuthority(SimulatedAuthority):
    """Offers renewal information (RFC 9773): its window begins at half of the lifetime."""

    def renewal_window(self, certificate: bytes) -> RenewalWindow:
        leaf = x509.load_der_x509_certificate(certificate)
        begins, lifetime = leaf.not_valid_before_utc, leaf.not_valid_after_utc - leaf.not_valid_before_utc
        return RenewalWindow(begins + lifetime * WINDOW_BEGINS, begins + lifetime * WINDOW_ENDS, 86_400)
