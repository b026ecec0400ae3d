"""Azure DNS through its SDK. The record sets are SIMULATED: a server of ours, after the REST reference; the zones and
aliases are real ones, in BIND."""

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns.azure_dns import AzureDnsZones
from certrelay.connectors.acme.dns.settings import AzureDns
from tests.connectors.acme.dns.bind import Bind
from tests.connectors.conformance import context


@dataclass
class RecordSets:
    """`interfere` times, somebody else changes a record set just before we do."""

    url: str = ""
    sets: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    interfere: int = 0
    status: int = 0

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = path.partition("?")[0].partition("/dnsZones/")[2]
        if self.status:
            return self.status, {"error": {"code": "Refused", "message": "no"}}
        if method != "GET" and self.interfere:
            self.interfere -= 1
            version, known = self.sets.get(
                name, (0, {"properties": {"TTL": 60, "TXTRecords": [{"value": ["theirs"]}]}})
            )
            self.sets[name] = (version + 1, known)
        version, known = self.sets.get(name, (0, {}))
        if (headers.get("If-None-Match") == "*" and version) or headers.get("If-Match") not in (None, str(version)):
            return 412, {"error": {"code": "PreconditionFailed", "message": "changed"}}
        if method == "PUT":
            self.sets[name] = (version + 1, body)
            return 200, {**body, "etag": str(version + 1)}
        if method == "DELETE":
            self.sets.pop(name, None)
            return 200, {}
        return (
            (200, {**known, "etag": str(version)}) if version else (404, {"error": {"code": "NotFound", "message": ""}})
        )

    def values(self, name: str) -> list[str]:
        return [
            one["value"][0]
            for one in self.sets.get(name, (0, {"properties": {"TXTRecords": []}}))[1]["properties"]["TXTRecords"]
        ]


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[tuple[RecordSets, str]]:
    records = RecordSets()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = records.answer(self.command, self.path, self.headers, json.loads(body or b"{}"))
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "roots.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        records.url = f"https://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield records, str(tmp_path / "roots.pem")
        server.shutdown()


@pytest.fixture
def solver(azure: tuple[RecordSets, str], bind: Bind) -> AzureDnsZones:
    credential = SimpleNamespace(get_token=lambda *_, **__: SimpleNamespace(token="t", expires_on=9_999_999_999))
    subscription = "00000000-0000-0000-0000-000000000000"
    given: dict[str, Any] = {"subscription_id": subscription, "resource_group": "dns", "resolvers": [bind.address]}
    made = replace(context("acme"), credential=lambda: credential)
    settings = AzureDns(provider="azure", **given)
    return AzureDnsZones(settings, made, base_url=azure[0].url, connection_verify=azure[1])


def test_values_are_added_and_removed_one_by_one(azure: tuple[RecordSets, str], solver: AzureDnsZones) -> None:
    records, name = azure[0], "_acme-challenge.one.example.com"
    for value in ("a", "b", "a"):
        solver.publish(name, value)
    assert records.values("example.com/TXT/_acme-challenge.one") == ["a", "b"]
    for value in ("a", "a"):
        solver.remove(name, value)
    assert records.values("example.com/TXT/_acme-challenge.one") == ["b"]
    solver.remove(name, "b")
    assert records.sets == {}


def test_an_alias_is_followed_into_its_zone(azure: tuple[RecordSets, str], solver: AzureDnsZones) -> None:
    solver.publish("_acme-challenge.alias.example.com", "a")
    assert list(azure[0].sets) == ["challenges.example.org/TXT/alias"]


def test_what_somebody_else_adds_in_between_is_kept(azure: tuple[RecordSets, str], solver: AzureDnsZones) -> None:
    records = azure[0]
    records.interfere = 2
    solver.publish("_acme-challenge.busy.example.com", "ours")
    assert records.values("example.com/TXT/_acme-challenge.busy") == ["ours", "theirs"]


@pytest.mark.parametrize("values", [["short"], ["x" * 255, "y" * 40], ["x" * 10, "y" * 10]], ids=str)
def test_a_record_set_of_others_is_afterwards_as_it_was(
    azure: tuple[RecordSets, str], solver: AzureDnsZones, values: list[str]
) -> None:
    """At the end of an alias there may be anything. A string of a record has at most 255 octets (RFC 1035)."""
    records, name = azure[0], "_acme-challenge.theirs.example.com"
    theirs = {"properties": {"metadata": {"owner": "mail"}, "TTL": 3600, "TXTRecords": [{"value": values}]}}
    records.sets["example.com/TXT/_acme-challenge.theirs"] = (1, theirs)
    solver.publish(name, "ours")
    [(_, changed)] = records.sets.values()
    assert {"value": values} in changed["properties"]["TXTRecords"]
    assert {"value": ["ours"]} in changed["properties"]["TXTRecords"]
    solver.remove(name, "ours")
    [(_, restored)] = records.sets.values()
    assert restored == theirs


def test_a_refusal_is_a_failure_with_its_status(azure: tuple[RecordSets, str], solver: AzureDnsZones) -> None:
    azure[0].status = 403
    with pytest.raises(DnsFailure, match=r"example\.com \(HTTP 403\)"):
        solver.publish("_acme-challenge.no.example.com", "a")
