"""What is out of its range is refused before anything is asked of Key Vault."""

from typing import Any

import pytest

from certrelay import validation
from certrelay.certificates import create, read
from certrelay.certificates.create import CertificateSpec
from certrelay.errors import Invalid
from handlers.request_models import RevokeCertificate
from tests.world import ALIAS, World


def faults_of(world: World, authority: str | None = "test-ca", **x509_props: Any) -> list[str]:
    props = {"subject": "CN=www.contoso.example", **x509_props}
    spec = CertificateSpec(authority=authority, policy={"x509_props": props})
    with pytest.raises(Invalid) as refused:
        create.complete(world.services, ALIAS, world.name(), spec)
    return [f"{fault.pointer}: {fault.detail}" for fault in refused.value.faults]


@pytest.mark.parametrize("authority", ["test-ca", None])
@pytest.mark.parametrize("months", [-5, 0, 1201, 10**399, -(10**399)])
def test_months_out_of_range_are_refused_with_the_range(world: World, months: int, authority: str | None) -> None:
    """-5 ordered a certificate that had expired, and 400 digits were a 500."""
    expected = "/policy/x509_props/validity_months: must be from 1 to 1200"
    assert faults_of(world, authority, validity_months=months) == [expected]


def test_more_months_than_an_authoritys_certificate_may_have_are_refused(world: World) -> None:
    (fault,) = faults_of(world, validity_months=1200)
    assert fault == "/policy/x509_props/validity_months: must be at most 3650 days when an authority signs"


@pytest.mark.parametrize(
    "oid", ["1.3.6.1.5.5.7.3.1\n", "1.3.6\r\n", "1.3.\u0661", "1." + "9" * 400, "1", "3.1", "1.3.06", ""]
)
def test_what_is_no_object_identifier_is_refused(world: World, oid: str) -> None:
    (fault,) = faults_of(world, ekus=[oid])
    assert fault.startswith("/policy/x509_props/ekus/0: must be an object identifier")


@pytest.mark.parametrize(
    "version", ["../../secrets/www?aaaaaaaaaaaaaaa", "0" * 31, "G" * 32, "A" * 32, "0" * 31 + "\n"]
)
def test_a_version_is_32_hexadecimal_digits_and_nothing_else_reaches_key_vault(
    world: World, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(world.vault, "call", lambda method, path, *_: asked.append(path))
    with pytest.raises(Invalid, match="32 hexadecimal digits, in lower case"):
        read.bundle(world.services, ALIAS, "www", version)
    assert asked == []


def test_a_version_in_a_request_is_told_to_be_in_lower_case_too() -> None:
    schema = RevokeCertificate.model_json_schema()["properties"]["version"]["anyOf"][0]
    assert validation.expected(schema).endswith("32 hexadecimal digits, in lower case")
