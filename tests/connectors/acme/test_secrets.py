"""What `acme` must keep to itself never gets into a log at level DEBUG, an outcome, a reference or an exception."""

import base64
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import ConnectorError, Issued, Outcome, Pending, RevocationReason
from tests.connectors.acme.dns.bind import KEY_NAME, KEY_SECRET, Bind
from tests.connectors.acme.ordering import HMAC, der, follow, pem_of, request_for
from tests.connectors.acme.pebble import Pebble
from tests.connectors.answers import leaf_of
from tests.connectors.conformance import context
from tests.connectors.hostile import closed_port_url
from tests.connectors.signing_requests import private_key, self_signed

WRONG_HMAC = "d3JvbmctaG1hYy1jYW5hcnktd3JvbmctaG1hYy1jYW5hcnk"
WRONG_TSIG = "d3JvbmctdHNpZy1jYW5hcnktd3JvbmctdHNpZy1jYW5hcnk="


@pytest.fixture
def pebble(bind: Bind, tmp_path: Path) -> Iterator[Pebble]:
    settings = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": HMAC}}
    with Pebble(tmp_path / "pebble", bind.port, settings, PEBBLE_WFE_NONCEREJECT="30") as running:
        yield running


def canaries() -> set[str]:
    """Every way in which a secret is usually written."""
    key = private_key("ec-256", "account")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    octets = [number.to_bytes(32), key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )]  # fmt: skip
    octets += [base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in (HMAC, WRONG_HMAC)]
    octets += [base64.b64decode(text) for text in (KEY_SECRET, WRONG_TSIG)]
    found = {str(number), f"{number:x}", HMAC, WRONG_HMAC, KEY_SECRET, WRONG_TSIG, "PRIVATE KEY"}
    found |= {pem_of("account").get_secret_value().splitlines()[1]}
    for each in octets:
        found |= {each.hex(), repr(each)[2:-1], base64.b64encode(each).decode().rstrip("=")}
        found |= {base64.urlsafe_b64encode(each).decode().rstrip("=")}
    return found


def connect(url: str, tls_roots: str, bind: Bind, **changes: Any) -> Acme:
    dns: dict[str, Any] = {
        "provider": "rfc2136",
        "server": bind.address,
        "key_name": KEY_NAME,
        "key_secret": KEY_SECRET,
    }
    dns |= {"resolvers": [bind.address], "name_servers": [bind.address], **changes.pop("dns", {})}
    bound = {"eab_kid": "kid-1", "eab_hmac_key": HMAC, "account_key_pem": pem_of("account")}
    return Acme(
        AcmeSettings.model_validate({"url": url, "ca_certificates": tls_roots, "dns": dns, **bound, **changes}),
        context("acme"),
    )


def test_no_secret_of_an_acme_authority_is_ever_written(
    pebble: Pebble, bind: Bind, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    written: list[str] = []
    good = connect(pebble.directory, pebble.tls_roots, bind)
    faulty = [
        connect(pebble.directory, pebble.tls_roots, bind, dns={"key_secret": WRONG_TSIG}),
        connect(pebble.directory, pebble.tls_roots, bind, dns={"key_secret": "wrong-tsig-canary, no base64"}),
        connect(pebble.directory, pebble.tls_roots, bind, dns={"server": closed_port_url().removeprefix("https://")}),
        connect(pebble.directory, pebble.tls_roots, bind, account_key_pem=pem_of("other"), eab_hmac_key=WRONG_HMAC),
        connect(closed_port_url(), pebble.tls_roots, bind),
    ]
    request = request_for("canary.example.com")
    issued: Outcome = good.submit(request)
    while isinstance(issued, Pending):
        written.append(issued.reference)
        issued = good.collect(request, issued.reference)
    assert isinstance(issued, Issued)
    good.revoke(der(leaf_of(issued.answer, request)), RevocationReason.KEY_COMPROMISE)
    for connector in faulty:
        outcome = follow(connector, request_for("faulty.example.com"))
        assert not isinstance(outcome, Issued | Pending)
        written += [repr(outcome), repr(connector._settings), str(connector._settings)]
        with pytest.raises(ConnectorError) as caught:
            connector.revoke(der(self_signed(request.names)), RevocationReason.UNSPECIFIED)
        written += traceback.format_exception(caught.value)
    text = "\n".join([*written, caplog.text, *capfd.readouterr()])
    assert "urllib3" in caplog.text, "the libraries' own words are looked at too"
    assert [canary for canary in {*canaries(), "wrong-tsig-canary"} if canary in text] == []


@pytest.mark.parametrize(
    "faulty",
    [
        {"account_key_pem": "-----BEGIN PRIVATE KEY-----\ncanary"},
        {"eab_hmac_key": "canary!"},
        {"eab_kid": None, "eab_hmac_key": "canarycanary"},
        {"dns": {"provider": "rfc2136", "key_secret": "canary"}},
        {"dns": {"provider": "none", "key_secret": "canary"}},
        {"dns": "canary"},
    ],
)
def test_faulty_settings_are_named_without_their_secrets(faulty: dict[str, Any]) -> None:
    good = {"url": "https://acme.example/dir", "account_key_pem": pem_of("account"), "eab_kid": "k"}
    with pytest.raises(ValueError) as caught:
        AcmeSettings.model_validate({**good, "eab_hmac_key": HMAC, **faulty})
    text = "".join(traceback.format_exception(caught.value))
    assert [canary for canary in {*canaries(), "canary"} if canary in str(caught.value)] == []
    assert [canary for canary in canaries() if canary in text] == []
