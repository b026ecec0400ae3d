"""Fills the vault quickly with many real certificates: EC keys, self-signed."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.vault.crypto import dump_key, self_sign
from sandbox.vault.model import Certificate, Version
from sandbox.vault.policy import complete, read_policy
from sandbox.vault.vault import Vault

_BATCH = 1000


@dataclass(frozen=True)
class Seed:
    """How many certificates to create, named `{prefix}-00000` and so on, and what they have in common.

    `age`: seconds since their creation.
    """

    count: int
    prefix: str = "seed"
    validity_months: int = 12
    age: float = 0.0
    tags: dict[str, str] | None = None
    issuer: str = "Unknown"

    def __post_init__(self) -> None:
        if not 0 < self.count <= 1_000_000 or not self.prefix.replace("-", "").isalnum():
            raise ValueError("count must be 1 to 1000000, prefix letters, digits and hyphens")


def seed(vault: Vault, request: Seed) -> dict[str, Any]:
    """Create the certificates, each with its own key. Returns `count` and the `seconds` taken; raises no events."""
    began = time.monotonic()
    for start in range(0, request.count, _BATCH):
        numbers = range(start, min(start + _BATCH, request.count))
        vault.save_many([_certificate(vault, request, number) for number in numbers])
    return {"count": request.count, "seconds": time.monotonic() - began}


def _certificate(vault: Vault, request: Seed, number: int) -> Certificate:
    name = f"{request.prefix}-{number:05}"
    now = int(vault.clock.now() - request.age)
    policy = complete(
        read_policy(
            {
                "key_props": {"kty": "EC", "crv": "P-256"},
                "x509_props": {
                    "subject": f"CN={name}.example",
                    "sans": {"dns_names": [f"{name}.example"]},
                    "validity_months": request.validity_months,
                },
                "issuer": {"name": request.issuer},
            }
        ),
        now,
    )
    key = ec.generate_private_key(ec.SECP256R1())
    encoded = self_sign(policy, key, now)
    certificate = x509.load_der_x509_certificate(encoded)
    version = Version(
        id=uuid.uuid4().hex,
        created=now,
        updated=now,
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        expires=int(certificate.not_valid_after_utc.timestamp()),
        key=dump_key(key),
        certificate=encoded,
        tags=request.tags,
        key_usage=tuple(policy["x509_props"]["key_usage"]),
    )
    return Certificate(name, policy, (version,))
