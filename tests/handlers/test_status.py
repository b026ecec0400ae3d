"""How the service stands, over HTTP: status, lists, poison messages."""

import csv
import io
import json
from typing import Any

import pytest

from sandbox import doctor
from sandbox.identity import SYSTEM_ASSIGNED, object_id
from tests.app import App, until


def run_of(app: App, name: str) -> dict[str, Any]:
    return next(run for run in app.call("GET", "/api/status").json()["runs"] if run["name"] == name)


def test_the_status_names_the_last_run_of_each_timer_and_counts_certificates(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=[f"{name}.contoso.example"])
    app.ended(name)
    for function, run in (("sweep_certificates", "sweep"), ("poll_operations", "poll"), ("daily_digest", "digest")):
        before = run_of(app, run)["succeeded_at"]
        assert app.run(function) == 202
        until(lambda run=run, before=before: run_of(app, run)["succeeded_at"] != before)  # type: ignore[misc]
        assert (run_of(app, run)["ok"], run_of(app, run)["late"]) == (True, False)
    status = app.call("GET", "/api/status").json()
    assert status["version"]
    counted = {(row["authority"], row["state"]): row["count"] for row in status["certificates"]}
    assert counted["openbao", "valid"] >= 1
    assert status["operations"].keys() == {"open", "failing", "waiting", "crowded"}
    assert run_of(app, "poll")["schedule"]


def test_operations_are_listed_filtered_and_paged_as_json_and_csv(app: App) -> None:
    names = [app.name() for _ in range(3)]
    for name in names:
        app.create(name, dns_names=[f"{name}.contoso.example"])
    for name in names:
        app.ended(name)
    path, found = "/api/operations?vault=main&authority=openbao&state=completed&max=2", list[str]()
    continuation = ""
    while continuation is not None:
        page = app.call("GET", path + (f"&continuation={continuation}" if continuation else "")).json()
        found += [operation["name"] for operation in page["value"]]
        continuation = page["continuation"]
    assert set(names) <= set(found)
    written = app.call("GET", "/api/operations?format=csv&state=completed&max=200")
    assert written.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(written.text, newline="")))
    assert set(names) <= {row["name"] for row in rows}
    assert {row["authority"] for row in rows if row["name"] in names} == {"openbao"}
    listed = app.call("GET", "/api/replacements?max=1&state=settled").json()
    assert [job["state"] for job in listed["value"]] in ([], ["settled"])


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("operations?state=done", "/state"),
        ("operations?since=yesterday", "/since"),
        ("operations?since=2026-01-01T00:00:00", "/since"),
        ("operations?since=0001-01-01T00:00:00%2B14:00", "/since"),
        ("operations?max=0", "/max"),
        ("operations?max=201", "/max"),
        ("operations?format=xml", "/format"),
        ("operations?status=failed", "/status"),
        ("operations?continuation=x", "/continuation"),
        ("replacements?state=done", "/state"),
        ("replacements?continuation=x", "/continuation"),
        ("status?x=1", "/x"),
        ("poison?max=1", "/max"),
    ],
)
def test_a_filter_that_is_none_is_refused_and_named(app: App, path: str, fault: str) -> None:
    refused = app.call("GET", f"/api/{path}")
    assert refused.status_code == 400, refused.text
    assert [one["pointer"] for one in refused.json()["errors"]] == [fault]


def test_a_list_of_a_vault_that_is_not_there_is_404(app: App) -> None:
    assert app.call("GET", "/api/operations?vault=gone").status_code == 404


def test_a_poison_message_is_listed_with_its_reason_and_dropped_once(app: App) -> None:
    app.queue(json.dumps({"v": 9, "canary": "s3cret"}), "signing-poison")
    found: list[dict[str, str]] = []

    def listed() -> bool:
        found[:] = app.call("GET", "/api/poison").json()["value"]
        return bool(found and found[0]["outcome"])

    until(listed)
    assert found[0]["queue"] == "signing"
    assert found[0]["outcome"] == "the message is no wake-up"
    assert "s3cret" not in json.dumps(found)
    path = f"/api/poison/{found[0]['id']}"
    assert app.call("POST", f"{path}/retry").json()["code"] == "Unreadable"
    assert app.call("DELETE", path).status_code == 200
    assert app.call("DELETE", path).status_code == 404
    assert app.call("GET", "/api/poison").json() == {"value": []}


def test_a_vault_that_refuses_the_app_is_a_503_that_names_the_role_and_no_id_of_the_app(app: App) -> None:
    permissions = f"{app.settings['VAULT_ADMIN_URL']}/identities/{SYSTEM_ASSIGNED}"
    app.client.put(permissions, json={"permissions": {"certificates": ["list"]}}).raise_for_status()
    try:
        refused = app.certificate("www-refused")
    finally:
        app.client.put(permissions, json={"permissions": None}).raise_for_status()
    assert refused.status_code == 503
    assert refused.json()["code"] == "VaultForbidden"
    assert "Key Vault Certificates Officer" in refused.json()["detail"]
    assert object_id(SYSTEM_ASSIGNED) not in refused.text
    assert SYSTEM_ASSIGNED not in refused.text


def test_the_doctor_examines_a_deployed_app_and_its_command_prints_what_is_wrong(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    found = app.call("GET", "/api/doctor").json()
    assert {"what", "ok", "detail", "mend"} == found["findings"][0].keys()
    assert found["ok"] == all(finding["ok"] for finding in found["findings"])
    assert [
        finding for finding in found["findings"] if finding["what"].startswith("vault ") and not finding["ok"]
    ] == []
    environment = {"KEY": app.settings["FUNCTION_KEY"]}
    code = doctor.main(["--app", app.settings["APP_URL"], "--all"], environment)
    printed = capsys.readouterr()
    assert code == (0 if found["ok"] else 1)
    assert "vault main: Microsoft.KeyVault/vaults/certificates/create/action: granted" in printed.out
    assert doctor.main(["--app", app.settings["APP_URL"]], {"KEY": "wrong"}) == 2
    assert "is the variable KEY or TOKEN right?" in capsys.readouterr().err
    assert doctor.main(["--app", "http://127.0.0.1:1"], environment) == 2
    assert doctor.main(["--app", "http://example.com"], environment) == 2
    assert environment["KEY"] not in printed.out + printed.err
