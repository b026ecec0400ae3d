"""A request's properties are worked out once, and an authority's answer is verified once."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import SigningRequest
from certrelay.errors import Unverified
from certrelay.keyvault import policy
from certrelay.operations import reconcile
from certrelay.operations.submit import Origin
from certrelay.pki import chains, names, verify, weak_keys
from certrelay.renewal import renew
from certrelay.storage.operation import State
from tests.world import ALIAS, World, made


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often names were normalised, and a chain was verified."""
    calls: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(policy, "subject_names", counting("names", names.subject_names))
    monkeypatch.setattr(verify, "verify_answer", counting("chain", verify.verify_answer))
    return calls


def test_names_are_normalised_once_before_the_202_and_once_after_and_the_chain_is_verified_once(
    world: World, counted: Counter[str]
) -> None:
    name = world.name()
    spec = CertificateSpec(authority="test-ca", dns_names=("www.contoso.example", "a.contoso.example"))
    create.create(world.services, ALIAS, name, spec, requested_by="test")
    assert counted == {"names": 1}
    ended = reconcile.advance(world.services, ALIAS, name)
    assert ended is not None
    assert (ended.state, counted) == (State.COMPLETED, {"names": 2, "chain": 1})


def test_a_request_is_parsed_and_its_signature_verified_once_however_often_the_authority_is_asked(world: World) -> None:
    world.ca.wait, parsed = 2, verify._request.cache_info().misses
    assert made(world, world.name()).state is State.COMPLETED
    assert verify._request.cache_info().misses == parsed + 1


def test_of_a_chain_only_the_signature_on_the_new_certificate_is_verified_each_time(world: World) -> None:
    made(world, world.name("-first"))
    verified = chains.is_signed_by.cache_info().misses
    assert made(world, world.name()).state is State.COMPLETED
    assert chains.is_signed_by.cache_info().misses == verified + 1


def test_a_key_that_is_weak_is_so_each_time() -> None:
    weak = rsa.RSAPublicNumbers(65537, (2**1024 + 643) * (2**1024 + 643 + 2)).public_key()
    for _ in range(2):
        with pytest.raises(Unverified):
            weak_keys.verify_public_key(weak)


def serves_only(world: World) -> Callable[[SigningRequest], bytes]:
    """An authority that leaves clientAuth out, whatever the CSR says."""

    def issue(request: SigningRequest) -> bytes:
        return world.ca.signed(request, replaced=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])])

    return issue


BOTH = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]


@pytest.mark.parametrize(
    ("ekus", "state"), [(None, State.COMPLETED), (BOTH[:1], State.COMPLETED), (BOTH, State.FAILED)]
)
def test_extended_key_usages_that_were_asked_for_are_met_exactly(
    world: World, ekus: list[str] | None, state: State
) -> None:
    name = world.name()
    world.ca.issue = serves_only(world)
    x509_props = {"x509_props": {"ekus": ekus}} if ekus else {}
    spec = CertificateSpec(authority="test-ca", dns_names=("www.contoso.example",), policy=x509_props)
    create.create(world.services, ALIAS, name, spec, requested_by="test")
    ended = world.finish(name)
    assert ended.state is state
    assert (ended.failure is None) == (state is State.COMPLETED)


def test_a_renewal_meets_exactly_what_the_first_version_did(world: World) -> None:
    name = world.name()
    spec = CertificateSpec(
        authority="test-ca", dns_names=("www.contoso.example",), policy={"x509_props": {"ekus": BOTH}}
    )
    create.create(world.services, ALIAS, name, spec, requested_by="test")
    assert world.finish(name).state is State.COMPLETED
    world.ca.issue = serves_only(world)
    renew.renew(world.services, ALIAS, name, Origin(requested_by="test"))
    ended = world.finish(name)
    assert ended.failure is not None
    assert (ended.state, ended.failure.code) == (State.FAILED, "UnverifiedCertificate")
