"""A plan checks what it writes: what stays as it is, may be what the rules no longer allow."""

from typing import Any

import httpx
import pytest

from certrelay_cli.code import document, prepare, wanted
from certrelay_cli.code.planner import Plan
from certrelay_client import Client

POLICY = {
    "issuer": {"name": "Unknown"},
    "key_props": {"kty": "RSA", "key_size": 2048, "exportable": True},
    "secret_props": {"contentType": "application/x-pkcs12"},
    "x509_props": {"subject": "CN=old.contoso.example", "sans": {"dns_names": ["old.contoso.example"]}},
}
DETAIL = {
    "name": "old", "version": "1", "cer": "MAA=", "tags": {"team": "shop"}, "policy": POLICY, "key_type": "RSA",
    "key_size": 2048, "attributes": {"enabled": True}, "dns_names": ["old.contoso.example"],
}  # fmt: skip
RULES = {"names": ["*.example.com"], "key_types": ["EC"]}
AUTHORITY = {"name": "corp", "default_validity_days": 90, "features": ["ec"]}
ANSWERS: dict[str, Any] = {
    "/api/vaults": {"value": [{"name": "main", "url": "u", "authorities": ["corp"], "endpoints": [], "rules": RULES}]},
    "/api/authorities": {"value": [AUTHORITY]},
    "/api/vaults/main/certificates": {"value": [], "continuation": None},
    "/api/vaults/main/certificates/old": DETAIL,
}
MISSING = {"code": "CertificateNotFound", "detail": "there is no certificate"}


def planned(*entries: str) -> Plan:
    def answer(request: httpx.Request) -> httpx.Response:
        found = ANSWERS.get(request.url.path)
        return httpx.Response(404, json=MISSING) if found is None else httpx.Response(200, json=found)

    content = document.parse("vault: main\ncertificates:\n" + "\n".join(f"  {entry}" for entry in entries))
    with Client("https://app.example", transport=httpx.MockTransport(answer)) as client:
        return prepare.fresh(client, "main", wanted.all_of(content), prune=False)


OLD = "old: {{names: [old.contoso.example], issuer: Unknown, tags: {{team: {}}}{}}}"


@pytest.mark.parametrize("team", ["shop", "web"])
def test_what_an_import_left_there_holds_up_nothing_of_the_file(team: str) -> None:
    found = planned(OLD.format(team, ""), "new: {names: [new.example.com], authority: corp, key: EC-P256}")
    assert found.problems == ()
    assert [change.name for change in found.changes] == [*(["old"] if team == "web" else []), "new"]


def test_what_is_written_is_checked_each_fault_once() -> None:
    found = planned(OLD.format("web", ", reuse_key: true"))
    assert found.problems == (
        "old: vault main does not allow the name old.contoso.example (rule names)",
        "old: vault main does not allow RSA keys (rule key_types)",
    )
    assert planned("new: {names: [new.example.com], authority: none, key: EC-P256}").problems == (
        "new: there is no authority none; there are: corp",
    )
