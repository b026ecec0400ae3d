"""The round trip: an estate is exported, emptied and applied anew.

With `--soak` it has 500 certificates, and a fresh sandbox gets it that creates keys no faster than Key Vault does.
"""

import contextlib
import datetime
import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import App, until
from tests.cli.conftest import Run, settings
from tests.sandbox.vault.support import certify, validity

log = logging.getLogger(__name__)

VERSION = "api-version=2025-07-01"
IMPORTED = ("imported", "moved")  # the second one has an authority
# What a certificate of the estate is, besides its names; NAME is its name in the vault.
KINDS = (
    "names: [NAME.contoso.example, www.NAME.contoso.example]",
    "names: [NAME.contoso.example], key: RSA-3072, authority: second",
    "names: [NAME.contoso.example], renew: 20%, tags: {owner: me, cost: '42', at: '2026-01-01'}",
    "names: [NAME.contoso.example, 10.1.2.3], days: 45, reuse_key: true, renew: 9d, authority: second",
    "names: [NAME.contoso.example], content_type: pem, exportable: false, key: EC-P384",
    "names: [NAME.contoso.example], subject: 'CN=NAME.contoso.example,O=Contoso', tags: {on: 'yes', 'no': ''}",
    "names: [NAME.contoso.example], endpoint: 'NAME.contoso.example:443', enabled: false",
    "names: ['*.bücher.NAME.contoso.example', straße.NAME.contoso.example], key: EC-P521",
    "names: [NAME.contoso.example, me@contoso.example, 'https://NAME.contoso.example/'], issuer: Self, days: 730",
    "names: [NAME.contoso.example], issuer: Self, auto_renew: false, renew: 12d, key: RSA-2048, enabled: false",
    "names: [NAME.contoso.example], issuer: Self, key: EC-HSM-P256, key_usage: [digitalSignature], renew: 50%",
    "upns: [NAME@contoso.example], subject: 'CN=NAME', issuer: Self, ekus: [1.3.6.1.5.5.7.3.2]",
)


@contextlib.contextmanager
def vault(app: App) -> Iterator[httpx.Client]:
    """Key Vault itself, as somebody who may purge."""
    known = app.settings
    trusted = ssl.create_default_context(cafile=known["CA_BUNDLE"])
    query = {"resource": "https://vault.azure.net", "api-version": "2019-08-01"}
    header = {"X-IDENTITY-HEADER": known["IDENTITY_HEADER"]}
    with httpx.Client(base_url=known["VAULT_URL"], verify=trusted, timeout=30, trust_env=False) as client:
        token = client.get(known["IDENTITY_ENDPOINT"], params=query, headers=header).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def empty(app: App, names: list[str]) -> None:
    for one in names:
        assert app.certificate(one, "", "DELETE").status_code == 200
    with vault(app) as client:
        for one in names:
            until(lambda one=one: client.get(f"/deletedcertificates/{one}?{VERSION}").status_code == 200)  # type: ignore[misc]
            assert client.delete(f"/deletedcertificates/{one}?{VERSION}").status_code == 204


@contextlib.contextmanager
def measured(what: str, app: App, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log how long it takes, and how many requests the command and the app send."""
    started, before = time.monotonic(), app.vault_requests()["total"]
    caplog.clear()
    with caplog.at_level(logging.INFO, "httpx"):
        yield
    seconds, asked = time.monotonic() - started, sum(record.name == "httpx" for record in caplog.records)
    to_vault = app.vault_requests()["total"] - before
    log.info("%s: %.0f s, %d requests of the command, %d to Key Vault", what, seconds, asked, to_vault)


@contextlib.contextmanager
def fresh(tmp_path: Path) -> Iterator[App]:
    """A second sandbox, whose vault refuses what is beyond the limits that Key Vault publishes."""
    with (
        Sandbox(tmp_path / "fresh", Progress(), app_settings=lambda given: settings(given, prompt=False)) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        client.post(f"{sandbox.settings['VAULT_ADMIN_URL']}/throttle", json={}).raise_for_status()
        yield App(sandbox.settings, client)


def pfx(name: str) -> bytes:
    """A file with a certificate that somebody else has issued, and its key."""
    key, valid = ec.generate_private_key(ec.SECP256R1()), validity(datetime.timedelta(days=300))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    certificate = certify(name, key.public_key(), name, key, valid, (names,))
    return pkcs12.serialize_key_and_certificates(None, key, certificate, None, serialization.NoEncryption())


def estate(prefix: str, count: int) -> tuple[list[str], str]:
    """`count` certificates of all kinds: their names, and the file."""
    names = [f"{prefix}-{number}" for number in range(count)]
    lines = [f"  {name}: {{{KINDS[number % len(KINDS)].replace('NAME', name)}}}\n" for number, name in enumerate(names)]
    head = "vault: main\ndefaults: {authority: openbao, key: EC-P256, tags: {team: shop}}\ncertificates:\n"
    return names, head + "".join(lines)


def test_an_estate_that_is_exported_emptied_and_applied_anew_is_equal(
    app: App,
    certrelay: Run,
    pytestconfig: pytest.Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_soak = pytestconfig.getoption("--soak")
    prefix = app.name().replace("accepted", "estate")
    names, file = estate(prefix, 498 if is_soak else len(KINDS))
    Path("certificates.yaml").write_text(file, encoding="utf-8")
    brought = {f"{prefix}-{one}": pfx(f"{one}.contoso.example") for one in IMPORTED}

    def bring_in() -> None:
        for name, content in brought.items():
            Path(f"{name}.pfx").write_bytes(content)
            certrelay("import", name, f"{name}.pfx", "--password-file", "/dev/null", "--tag", "from=disk")
        certrelay("adopt", f"{prefix}-moved", "--authority", "second", "--renew", "30%")

    def exported(file: str) -> str:
        certrelay("export", "--out", file)
        return "".join(line for line in Path(file).read_text().splitlines(keepends=True) if prefix in line)

    bring_in()
    with measured("applied", app, caplog):
        certrelay("apply", "-f", "certificates.yaml", "--yes")
    before = exported("before.yaml")
    assert before.count("\n") == len(names) + len(brought)
    head = Path("before.yaml").read_text().split("certificates:\n")[0]
    Path("estate.yaml").write_text(f"{head}certificates:\n{before}")
    certrelay("plan", "-f", "estate.yaml")

    with contextlib.ExitStack() as stack:
        anew = app
        if is_soak:
            anew = stack.enter_context(fresh(tmp_path))
            monkeypatch.setenv("CERTRELAY_ENDPOINT", anew.settings["APP_URL"])
            monkeypatch.setenv("CERTRELAY_FUNCTION_KEY", anew.settings["FUNCTION_KEY"])
        else:
            empty(app, [*names, *brought])
        bring_in()
        with measured("applied anew", anew, caplog):
            certrelay("apply", "-f", "estate.yaml", "--yes")
        with measured("planned with nothing to do", anew, caplog):
            certrelay("plan", "-f", "estate.yaml")
        assert exported("after.yaml") == before
        assert not is_soak or Path("after.yaml").read_bytes() == Path("before.yaml").read_bytes()
