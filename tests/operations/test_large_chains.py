"""Chains of any size that an authority may send are merged, or refused once; no order is sent twice."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.errors import Invalid
from certrelay.storage.operation import MAX_CHAIN_BYTES, State
from tests.operations.creations import create
from tests.world import ALIAS, World


def ca_of(world: World, size: int, permitted: int = 0) -> None:
    """Let the authority have a certificate that is as large as real ones are that permit many domains, or larger."""
    own, now = world.ca.certificate.subject, world.services.now()
    builder = x509.CertificateBuilder(own, own, world.ca.key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=900))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    if permitted:
        trees = [x509.DNSName(f"domain-{number}.of.many.contoso.example") for number in range(permitted)]
        builder = builder.add_extension(x509.NameConstraints([x509.DNSName("contoso.example"), *trees], None), True)
    if size:
        padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04\x00" + b"x" * size)
        builder = builder.add_extension(padding, critical=False)
    world.ca.certificate = builder.sign(world.ca.key, hashes.SHA256())


@pytest.mark.parametrize(("size", "permitted"), [(0, 1600), (47_000, 0), (50_000, 0), (100_000, 0), (290_000, 0)])
def test_a_large_chain_is_merged(world: World, size: int, permitted: int) -> None:
    name = world.name()
    ca_of(world, size, permitted)
    create(world, name)
    ended = world.finish(name)
    assert ended.state is State.COMPLETED, ended.failure
    assert ended.chain[1] == world.ca.certificate.public_bytes(Encoding.DER), "the row and the history have all of it"
    assert len(world.ca.seen) == 1


def test_a_chain_that_is_too_large_is_refused_once(world: World) -> None:
    name = world.name()
    ca_of(world, MAX_CHAIN_BYTES)
    create(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    assert (ended.state, ended.failure.code) == (State.FAILED, "UnverifiedCertificate")
    assert f"at most {MAX_CHAIN_BYTES} are allowed" in ended.failure.message
    assert len(world.ca.seen) == 1, "the order was sent once"
    assert world.vault.pending(name) is None


def test_a_row_that_storage_refuses_for_its_size_is_refused_for_good(world: World) -> None:
    create(world, name := world.name())
    operation = world.services.storage.open(ALIAS, name)
    assert operation is not None
    long = operation.moved(State.SUBMITTED, world.services.now(), reference="x" * 70_000)
    with pytest.raises(Invalid, match="too large to be stored"):
        world.services.storage.save(long)
