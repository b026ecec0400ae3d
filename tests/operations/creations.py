"""The creations that the tests of operations ask for, and their rows."""

from dataclasses import replace

from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.storage.operation import Operation
from tests.world import ALIAS, KEY, World


def asked(name: str, **changes: object) -> CertificateSpec:
    return replace(CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY), **changes)  # type: ignore[arg-type]


def row(world: World, name: str) -> Operation:
    """The open operation, as it is in the table."""
    operation = world.services.storage.open(ALIAS, name)
    assert operation is not None
    return operation


def create(world: World, name: str, **changes: object) -> Operation:
    return creations.create(world.services, ALIAS, name, asked(name, **changes), requested_by="test")
