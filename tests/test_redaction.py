"""What an authority repeats of the settings' secrets gets into no operation, row, answer, notification or log line."""

import base64
import html
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from pydantic import SecretStr

from certrelay import health, redaction, services, setting_models
from certrelay.authorities import roll_over
from certrelay.certificates.revoke import Revocation, revoke
from certrelay.connectors.base import ConnectorError, ConnectorSettings, Issued, Outcome, Pending, Rejected, Unavailable
from certrelay.errors import CertRelayError, Fault, Invalid
from certrelay.operations.submit import Origin
from certrelay.storage.operation import Failure
from sandbox.azurite import Azurite
from sandbox.vault import VaultServer
from tests.handlers.in_process import InProcess
from tests.notifications.receiver import listening
from tests.world import ALIAS, TestCa, World, create, made, make_world

pytestmark = pytest.mark.slow

SECRET = 'pA55/w+rd "\u00e9t\u00e9"?&<x>\\ end'
PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\nAwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\n-----END-----"
PLAIN = ("pA55", "w+rd", "AgEAMBMGByqG", "AwEHBG0waw")


def encoded(secret: str) -> list[str]:
    octets = secret.encode()
    found = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        re.sub("%..", lambda found: found[0].lower(), quote(secret)),
    ]
    found += [json.dumps(secret), json.dumps(secret, ensure_ascii=False), json.dumps(secret).replace("/", "\\/")]
    found += [html.escape(secret), repr(secret), octets.hex(), "".join(f"%{octet:02x}" for octet in octets)]
    for login in (b"", b"u:", b"us:", b"user:", b"CONTOSO\\u:"):
        for after in (b"", b"\n", b":x"):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                found += [encode(login + octets + after).decode(), encode(login + octets + after).decode().rstrip("=")]
    return found


@pytest.fixture
def protected() -> Iterator[None]:
    redaction.protect([SECRET, PEM])
    yield
    redaction.protect([])


@pytest.mark.usefixtures("protected")
@pytest.mark.parametrize("form", encoded(SECRET))
def test_every_form_of_a_secret_is_taken_out_whatever_stands_around_it(form: str) -> None:
    for text in (form, f"Authorization: Basic {form}, refused", f"<b>{form}</b>", f"a {form} b {form}"):
        told = redaction.redact(text)
        assert redaction.REPLACEMENT in told
        assert not any(part in told for part in PLAIN), told
        rest = "".join(part for part in told.replace(redaction.REPLACEMENT, " ").split() if len(part) > 20)
        assert rest == "", "nothing of the base64 is left"


@pytest.mark.usefixtures("protected")
@pytest.mark.parametrize(
    "form", [PEM, json.dumps(PEM), " ".join(PEM.split()), PEM.split("\n")[1], PEM.replace("\n", "\r\n")]
)
def test_a_key_in_pem_is_taken_out_line_by_line(form: str) -> None:
    told = redaction.redact(f"it says {form}.")
    assert not any(part in told for part in PLAIN), told


@pytest.mark.usefixtures("protected")
def test_what_is_no_secret_stays_as_it_is() -> None:
    for text in (
        "the order was refused: www.contoso.example",
        "",
        "pA55",
        base64.b64encode(b"something else" * 9).decode(),
    ):
        assert redaction.redact(text) == text


def test_short_secrets_are_left_alone_since_they_would_be_in_every_other_word() -> None:
    redaction.protect(["x", "abc", "12345", ""])
    assert redaction.redact("abcx 12345") == "abcx 12345"
    redaction.protect([])


def test_the_path_of_a_webhook_and_the_key_of_a_storage_account_are_secrets_by_themselves() -> None:
    redaction.protect(
        ["https://hooks.example/services/T0/B0/tail", "DefaultEndpointsProtocol=https;AccountKey=a2V5a2V5;x=1"]
    )
    told = redaction.redact('hooks.example "POST /services/T0/B0/tail HTTP/1.1"; a2V5a2V5; https://hooks.example/')
    assert (
        told
        == f'hooks.example "POST {redaction.REPLACEMENT} HTTP/1.1"; {redaction.REPLACEMENT}; https://hooks.example/'
    )
    redaction.protect([])


def test_a_long_text_takes_no_longer_than_its_length(protected: None) -> None:
    begun = time.process_time()
    redaction.redact("A" * 1_000_000 + base64.b64encode(SECRET.encode()).decode() * 50 + "A" * 1_000_000)
    assert time.process_time() - begun < 8


@pytest.mark.usefixtures("protected")
def test_errors_and_log_records_are_clean_when_they_come_into_being(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    written = base64.b64encode(f"user:{SECRET}".encode()).decode()
    log = logging.getLogger("urllib3.connectionpool")
    log.debug("sent %s and %s", SECRET, {"a": written})
    log.error("percent %d and one missing %s", 7, SECRET)
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(written) from error
    except ValueError:
        log.exception("it raised")
    assert [record.exc_info for record in caplog.records] == [None] * 3
    assert "Traceback" in caplog.text
    told = [str(kind(f"so: {SECRET}")) for kind in (CertRelayError, ConnectorError, Invalid)]
    told += [Fault("", SECRET).detail, Failure("X", written).message]
    for text in (*told, caplog.text):
        assert redaction.REPLACEMENT in text
        assert not any(part in text for part in (*PLAIN, written)), text


class Nested(ConnectorSettings):
    keys: tuple[SecretStr, ...] = ()


class EchoSettings(ConnectorSettings):
    password: SecretStr
    nested: Nested = Nested()


class Echo(TestCa):
    """An authority that repeats all that it knows, in every way."""

    Settings = EchoSettings

    def check(self) -> None:
        raise ConnectorError(f"{SECRET} was refused")

    def roll_over_account_key(self) -> str:
        raise ConnectorError(f"refused {base64.b64encode(SECRET.encode()).decode()}")


@pytest.fixture
def echoing(
    vault_server: VaultServer, azurite: Azurite, world: World, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    echo = f', "echo": {{"connector": "{__name__}:Echo", "password": "@PASSWORD", "nested": {{"keys": ["@KEY"]}}}}'
    made_here = make_world(vault_server, azurite, vault_server.clock, echo, PASSWORD=SECRET, KEY=PEM)
    yield made_here
    redaction.protect([])


def test_all_secrets_of_the_settings_are_known(echoing: World) -> None:
    found = echoing.services.settings
    assert {SECRET, PEM, found.storage["AzureWebJobsStorage"]} <= found.secrets()
    target = setting_models.Target(kind="slack", url=SecretStr("https://a.example/b"), secret=SecretStr("signing"))
    assert set(setting_models.secrets_in({"a": [target]})) >= {target.url, target.secret}


def rows(world: World) -> str:
    ledger = world.services.storage
    tables = (ledger._operations, ledger._history, ledger.renewals._table, ledger.limits._table, ledger.replacements)
    return repr([list(table.query()) for table in tables])


OUTCOMES: dict[str, Callable[[str], Outcome | Exception]] = {
    "rejected": Rejected,
    "unavailable": lambda text: Unavailable(text, 5),
    "waiting": lambda text: Pending("r", 5, f"sign {text}"),
    "reference": lambda text: Pending(f"https://ca.example/{text}", 5),
    "raised": RuntimeError,
    "no certificate": lambda text: Issued(text.encode()),
}


@pytest.mark.parametrize("kind", OUTCOMES)
def test_an_echo_of_an_authority_gets_nowhere(
    echoing: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str, receiver: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    world, functions = listening(echoing, receiver[0]), InProcess(echoing, monkeypatch)
    sent: list[str] = []
    monkeypatch.setattr(world.services.storage.notifications, "send", lambda text, *_: sent.append(text))
    told = []
    for number, form in enumerate((SECRET, PEM, f"x {base64.b64encode(f'user:{SECRET}'.encode()).decode()}")):
        name = world.name(f"-{number}")
        world.ca.answers = [OUTCOMES[kind](form), OUTCOMES[kind](form), Rejected(f"no: {form}")]
        create(world, name)
        world.advance(name, 2)
        told.append(rows(world))
        answer = functions.call("GET", f"vaults/{ALIAS}/certificates/{name}/pending")
        assert answer is not None
        told.append(answer.body.decode())
        world.finish(name)
        told.append(rows(world))
    text = "\n".join([*told, *sent, caplog.text])
    assert redaction.REPLACEMENT in text or kind in ("reference", "no certificate")
    assert [part for part in PLAIN if part in text] == []
    assert base64.b64encode(f"user:{SECRET}".encode()).decode()[:20] not in text


def test_neither_readiness_nor_revocation_nor_a_roll_over_repeats_a_secret(
    echoing: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    told = [part.detail for part in health.check(services.connect(echoing.services.settings))]
    with pytest.raises(CertRelayError) as refused:
        roll_over(services.connect(echoing.services.settings), "echo")
    told.append(str(refused.value))

    def refuse(*_: object) -> None:
        raise ConnectorError(f"never: {SECRET}")

    name = echoing.name()
    made(echoing, name)
    monkeypatch.setattr(echoing.ca, "revoke", refuse)
    with pytest.raises(CertRelayError) as refused:
        revoke(echoing.services, ALIAS, name, Revocation(), Origin(requested_by="test", reason="test"))
    text = "\n".join([*told, str(refused.value), caplog.text])
    assert text.count(redaction.REPLACEMENT) >= 3
    assert [part for part in PLAIN if part in text] == []
