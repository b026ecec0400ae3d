"""`certificates.yaml` against the app in the sandbox: plan, apply, drift, crash."""

import json
import os
from pathlib import Path

import pytest

from certrelay_cli.code import apply as applying
from tests.app import App
from tests.cli.conftest import Run
from tests.cli.pages import ROOT
from tests.cli.terminal import on_terminal

WANTED = """
vault: main
defaults: {{authority: openbao, key: EC-P256, tags: {{team: shop}}}}
certificates:
  {name}: {{names: [{names}], renew: 30d}}
"""


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
    done = certrelay("apply", "-f", "certificates.yaml", "--yes")
    assert done.err.count(f"{name}: create done") == 1, "without a terminal each change is a line when it has ended"
    assert done.out == "1 done\n"
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


def test_a_terminal_shows_how_an_apply_stands(app: App, certrelay: Run, name: str) -> None:
    write(name, f"{name}.contoso.example")
    written = on_terminal(
        100, {**os.environ, "PYTHONPATH": str(ROOT / "cli")}, "apply", "-f", "certificates.yaml", "--yes"
    )
    assert f"0 of 1; waiting for {name}" in written
    assert "1 done" in written.splitlines()[-1]


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
