"""`certificates.yaml` against the app in the sandbox: plan, apply, drift, crash, export, and back."""

import contextlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from certrelay_cli.code import apply as applying
from tests.app import App, until
from tests.cli.conftest import Run

WANTED = """
vault: main
defaults: {{authority: openbao, key: EC-P256, tags: {{team: shop}}}}
certificates:
  {name}: {{names: [{names}], renew: 30d}}
"""
VERSION = "api-version=2025-07-01"


@contextlib.contextmanager
def vault(app: App) -> Iterator[httpx.Client]:
    """Key Vault itself, as somebody who may purge."""
    settings = app.settings
    trusted = ssl.create_default_context(cafile=settings["CA_BUNDLE"])
    query = {"resource": "https://vault.azure.net", "api-version": "2019-08-01"}
    header = {"X-IDENTITY-HEADER": settings["IDENTITY_HEADER"]}
    with httpx.Client(base_url=settings["VAULT_URL"], verify=trusted, timeout=30, trust_env=False) as client:
        token = client.get(settings["IDENTITY_ENDPOINT"], params=query, headers=header).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture
def name(app: App) -> str:
    return app.name().replace("accepted", "code")


def write(name: str, *names: str, more: str = "") -> None:
    Path("certificates.yaml").write_text(WANTED.format(name=name, names=", ".join(names)) + more)


def changes(certrelay: Run, *options: str, code: int = 2) -> list[tuple[str, str]]:
    found = json.loads(certrelay("plan", "--json", *options, code=code).out)
    return [(change["name"], change["kind"]) for change in found["changes"]]


def test_a_file_becomes_a_certificate_and_then_there_is_nothing_to_do(app: App, certrelay: Run, name: str) -> None:
    write(name, f"{name}.contoso.example")
    assert f"+ {name}: create" in certrelay("plan", code=2).out
    assert app.certificate(name).status_code == 404, "plan wrote something"
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    found = app.certificate(name).json()
    assert found["dns_names"] == [f"{name}.contoso.example"]
    assert (found["key_type"], found["key_size"]) == ("EC", 256)
    assert found["tags"]["team"] == "shop"
    assert changes(certrelay, code=0) == []
    write(name, f"{name}.contoso.example", f"www.{name}.contoso.example")
    assert changes(certrelay) == [(name, "new version")]
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    assert set(app.certificate(name).json()["dns_names"]) == {f"{name}.contoso.example", f"www.{name}.contoso.example"}
    assert changes(certrelay, code=0) == []


def test_what_was_changed_in_the_portal_is_found_and_mended(app: App, certrelay: Run, name: str) -> None:
    write(name, f"{name}.contoso.example")
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    app.certificate(name, "", "PATCH", {"tags": {"team": "someone else"}, "enabled": False, "force": True})
    app.certificate(
        name, "/policy", "PATCH",
        {"key_props": {"reuse_key": True}, "x509_props": {"sans": {"dns_names": ["other.contoso.example"]}},
         "lifetime_actions": [{"trigger": {"days_before_expiry": 3}, "action": {"action_type": "EmailContacts"}}]},
    )  # fmt: skip
    assert changes(certrelay) == [(name, "policy"), (name, "policy"), (name, "tags"), (name, "enabled")]
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    assert changes(certrelay, code=0) == []
    assert len(app.certificate(name, "/versions").json()["value"]) == 1, "no new version was needed"
    app.certificate(name, "/release", "POST")
    assert changes(certrelay) == [(name, "adopt")]
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    self_signed = {"issuer": {"name": "Self"}}
    made = app.create(name, authority=None, policy=self_signed, dns_names=[f"{name}.contoso.example"], force=True)
    assert made.status_code == 202, made.text
    app.ended(name)
    assert changes(certrelay) == [(name, "new version")], "a version that CertRelay did not have issued"


def test_what_is_not_in_the_file_is_released_only_with_prune(app: App, certrelay: Run, name: str) -> None:
    write(name, f"{name}.contoso.example")
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    entries = {line["name"] for line in app.call("GET", "/api/vaults/main/certificates?state=managed").json()["value"]}
    assert name in entries
    Path("certificates.yaml").write_text("vault: main\n")
    plan = certrelay("plan", code=0).out
    assert f"{name}: CertRelay renews it, and it is not in the file" in plan
    assert "nothing to do" in plan
    assert (name, "release") in changes(certrelay, "--prune")


def test_a_saved_plan_is_done_as_it_was_made_and_refused_when_it_is_too_old(
    app: App, certrelay: Run, name: str
) -> None:
    write(name, f"{name}.contoso.example")
    certrelay("plan", "--out", "plan.json", code=2)
    certrelay("apply", "--plan", "plan.json")
    certrelay("apply", "--plan", "plan.json")
    assert len(app.certificate(name, "/versions").json()["value"]) == 1
    write(name, f"{name}.contoso.example", f"www.{name}.contoso.example")
    certrelay("plan", "--out", "plan.json", code=2)
    app.certificate(name, "/renew", "POST")
    app.ended(name)
    done = certrelay("apply", "--plan", "plan.json", code=3)
    assert "it was changed since the plan was made" in done.err
    assert app.certificate(name).json()["dns_names"] == [f"{name}.contoso.example"]


def test_a_refusal_is_told_with_its_rule_before_anything_is_sent(app: App, certrelay: Run, name: str) -> None:
    more = f"  {name}-bad: {{names: [a.contoso.example], authority: nowhere}}\n"
    write(name, f"{name}.contoso.example", more=more)
    plan = certrelay("plan", code=3).out
    assert f"{name}-bad: there is no authority nowhere" in plan
    certrelay("apply", "-f", "certificates.yaml", "--yes", code=3)
    assert app.certificate(name).status_code == 404


def test_one_refusal_by_certrelay_does_not_hold_up_the_others(app: App, certrelay: Run, name: str) -> None:
    # OpenBao's role allows names below contoso.example only; the settings have no rule that says so.
    write(name, f"{name}.contoso.example", more=f"  {name}-bad: {{names: [www.elsewhere.invalid]}}\n")
    done = certrelay("apply", "-f", "certificates.yaml", "--yes", code=3)
    assert f"! {name}-bad: create failed" in done.out
    assert app.certificate(name).status_code == 200
    again = json.loads(certrelay("plan", "--json", code=2).out)["changes"]
    assert [change["name"] for change in again] == [f"{name}-bad"]


def test_an_apply_that_dies_anywhere_goes_on_with_the_same_orders(
    app: App, certrelay: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(name, f"{name}.contoso.example", more=f"  {name}-b: {{names: [{name}-b.contoso.example]}}\n")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(applying, "_follow", die)
        certrelay("apply", "-f", "certificates.yaml", "--yes", code=130)
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    for one in (name, f"{name}-b"):
        assert len(app.certificate(one, "/history").json()["value"]) == 1, "ordered twice"
    assert changes(certrelay, code=0) == []


def test_an_estate_that_is_exported_emptied_and_applied_anew_is_equal(
    app: App, certrelay: Run, name: str, pytestconfig: pytest.Config
) -> None:
    count = 500 if pytestconfig.getoption("--soak") else 12
    kinds = (
        "", ", key: RSA-3072", ", renew: 20%, tags: {owner: me, cost: '42'}", ", days: 45, reuse_key: true",
        ", content_type: pem, exportable: false", ", subject: 'CN=NAME.contoso.example,O=Contoso', tags: {on: 'yes'}",
    )  # fmt: skip
    lines = [
        f"  {name}-{number}: {{names: [{name}-{number}.contoso.example, www.{name}-{number}.contoso.example]"
        f"{kinds[number % len(kinds)].replace('NAME', f'{name}-{number}')}}}"
        for number in range(count)
    ]
    write(name, f"{name}.contoso.example", more="\n".join(lines) + "\n")
    certrelay("apply", "-f", "certificates.yaml", "--yes")
    assert changes(certrelay, code=0) == []

    def exported(file: str) -> str:
        certrelay("export", "--out", file)
        return "\n".join(line for line in Path(file).read_text().splitlines() if name in line)

    before = exported("before.yaml")
    assert before.count("\n") == count
    for one in [name] + [f"{name}-{number}" for number in range(count)]:
        assert app.certificate(one, "", "DELETE").status_code == 200
    with vault(app) as client:
        for one in [name] + [f"{name}-{number}" for number in range(count)]:
            until(lambda one=one: client.get(f"/deletedcertificates/{one}?{VERSION}").status_code == 200)  # type: ignore[misc]
            assert client.delete(f"/deletedcertificates/{one}?{VERSION}").status_code == 204
    head = Path("before.yaml").read_text().split("certificates:\n")[0]
    Path("estate.yaml").write_text(f"{head}certificates:\n{before}\n")
    certrelay("apply", "-f", "estate.yaml", "--yes")
    assert exported("after.yaml") == before
