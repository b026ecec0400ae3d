"""The sandbox vault answers as the real Key Vault did: `--recordings DIRECTORY` replays what was recorded of it.

Without the option only the replay itself is tried, on a recording made here.
"""

import json
from pathlib import Path

import pytest

from sandbox.clock import Clock
from sandbox.vault import VaultServer
from tests.sandbox.vault.recordings import read
from tests.sandbox.vault.replay import Replay, Tally

HOST = "https://example.vault.azure.net"
VERSION, REQUEST = "0" * 31 + "1", "0" * 31 + "2"


def replayed(directory: Path, files: list[Path]) -> Tally:
    total = Tally()
    for file in files:
        exchanges = read(file)
        if exchanges:
            with VaultServer(directory, Clock()) as server:
                total.add(Replay(server, exchanges).run())
    return total


def test_recordings_of_the_real_service_agree(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    chosen = request.config.getoption("--recordings")
    if not chosen:
        pytest.skip("needs --recordings DIRECTORY: recordings of the real service, which belong to others")
    files = sorted(item for item in Path(chosen).rglob("*") if item.suffix in (".json", ".yaml"))
    total = replayed(tmp_path, files)
    counted = f"statuses {total.statuses}, keys {total.keys}, values {total.values}"
    report = tmp_path / "differences.txt"
    report.write_text("\n".join([counted, *total.differences, *total.left_out]), encoding="utf-8")
    assert total.statuses[1], "no recording of a vault in that directory"
    assert total.statuses[0] == total.statuses[1], (counted, report)
    assert total.keys[0] >= 0.97 * total.keys[1], (counted, report)


def recorded(second: int, method: str, path: str, body: object, answer: tuple[int, object]) -> dict[str, object]:
    """One entry of Azure's test proxy."""
    return {
        "RequestMethod": method,
        "RequestUri": f"{HOST}{path}?api-version=7.4",
        "RequestHeaders": {},
        "RequestBody": body,
        "StatusCode": answer[0],
        "ResponseHeaders": {"Date": f"Sat, 01 Mar 2025 00:00:{second:02} GMT"},
        "ResponseBody": answer[1],
    }


def test_an_operation_takes_as_long_as_it_took_in_the_recording(tmp_path: Path) -> None:
    policy = {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a.example"}}
    pending = {
        "id": f"{HOST}/certificates/a/pending",
        "issuer": {"name": "Self"},
        "csr": "AA==",
        "cancellation_requested": False,
        "request_id": REQUEST,
    }
    busy = pending | {"status": "inProgress", "status_details": "Pending certificate created."}
    done = pending | {"status": "completed", "target": f"{HOST}/certificates/a"}
    gone = {"error": {"code": "CertificateNotFound", "message": "Deleted Certificate not found: a"}}
    entries = [
        recorded(0, "POST", "/certificates/a/create", {"policy": policy}, (202, busy)),
        recorded(30, "GET", "/certificates/a/pending", None, (200, busy)),
        recorded(40, "GET", "/certificates/a/pending", None, (200, done)),
        recorded(41, "DELETE", "/certificates/a", None, (200, {"recoveryId": f"{HOST}/deletedcertificates/a"})),
        recorded(50, "GET", "/deletedcertificates/a", None, (404, gone)),
        recorded(55, "GET", "/deletedcertificates/a", None, (418, {})),
    ]
    file = tmp_path / "made.json"
    file.write_text(json.dumps({"Entries": entries}), encoding="utf-8")
    total = replayed(tmp_path / "vault", [file])
    assert total.statuses == [5, 6]
    assert [text for text in total.differences if " key " in text and "POST" in text] == []
    assert any("418, here 404" in text for text in total.differences)
