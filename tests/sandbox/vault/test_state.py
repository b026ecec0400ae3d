"""The program, its shared clock, and the state that it keeps."""

import ctypes
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from sandbox.clock import Clock
from sandbox.vault import VaultServer
from sandbox.vault.model import Certificate, from_json, to_json
from sandbox.vault.seed import Seed, seed
from sandbox.vault.store import SqliteStore
from tests.sandbox.vault.program import POLICY, Program, in_process, program
from tests.sandbox.vault.webhook import Webhook, eventually

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_tells_where_it_is_and_ends_when_told(tmp_path: Path, number: int) -> None:
    with program(tmp_path) as running:
        assert set(running.description) == {
            "vault_url",
            "ca_bundle",
            "identity_endpoint",
            "identity_header",
            "admin_url",
        }
        assert running.create("a").status_code == 202
        assert running.end(number) == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux, to signal one thread of a process")
def test_the_program_ends_whichever_of_its_threads_the_signal_reaches(tmp_path: Path) -> None:
    with program(tmp_path) as running:
        pid = running.process.pid
        others = {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()} - {pid}
        ctypes.CDLL(None).tgkill(pid, min(others), signal.SIGTERM)
        assert running.process.wait(60) == 0


def test_two_programs_run_side_by_side(tmp_path: Path) -> None:
    with program(tmp_path / "a") as one, program(tmp_path / "b") as two:
        assert one.create("a").status_code == 202
        assert two.send("GET", "/certificates/a").status_code == 404


def test_without_data_nothing_is_kept_and_with_data_everything_is(tmp_path: Path) -> None:
    for data, status in ((None, 404), (tmp_path / "vault.db", 200)):
        with in_process(tmp_path, data) as running:
            running.create("a", {"b": "c"})
            running.send("PUT", "/certificates/issuers/ca", json={"provider": "Test"})
            running.send("PUT", "/certificates/contacts", json={"contacts": [{"email": "a@a.example"}]})
            before = running.send("GET", "/certificates/a/pending").json()
            port = int(running.description["vault_url"].rpartition(":")[2])
        with in_process(tmp_path, data, port) as running:
            assert running.send("GET", "/certificates/a").status_code == status
            assert running.send("GET", "/certificates/issuers/ca").status_code == status
            assert running.send("GET", "/certificates/contacts").status_code == status
            if status == 200:
                assert running.send("GET", "/certificates/a/pending").json() == before


def test_a_restarted_vault_keeps_its_root_and_accepts_old_tokens(tmp_path: Path) -> None:
    with in_process(tmp_path) as first:
        root, token = (tmp_path / "ca.pem").read_bytes(), first.session.headers["Authorization"]
    with in_process(tmp_path) as second:
        second.session.headers["Authorization"] = token
        assert second.send("GET", "/certificates").status_code == 200
        assert (tmp_path / "ca.pem").read_bytes() == root


@pytest.mark.parametrize("after", [0.05, 0.3])
def test_a_kill_in_the_midst_of_writes_loses_no_acknowledged_one(tmp_path: Path, after: float) -> None:
    data = ("--data", str(tmp_path / "vault.db"))
    acknowledged: list[str] = []

    def write(running: Program, thread: int) -> None:
        headers, verify = dict(running.session.headers), running.session.verify
        with requests.Session() as session:
            session.trust_env = False
            session.verify = verify
            for number in range(1000):
                name = f"name-{thread}-{number}"
                url = f"{running.description['vault_url']}/certificates/{name}/create?api-version=7.6"
                try:
                    answer = session.post(url, json={"policy": POLICY}, headers=headers, timeout=60)
                except requests.RequestException:
                    return
                if answer.status_code == 202:
                    acknowledged.append(name)

    with program(tmp_path, *data) as running:
        threads = [threading.Thread(target=write, args=(running, number)) for number in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(acknowledged) >= 3)
        time.sleep(after)
        running.process.kill()
        for thread in threads:
            thread.join()
    with in_process(tmp_path, tmp_path / "vault.db") as again:
        for name in acknowledged:
            assert again.send("GET", f"/certificates/{name}/pending").status_code == 200
            assert again.create(name).status_code == 409


def test_what_was_due_while_the_vault_was_down_happens_when_it_is_back(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    arguments = ("--data", str(tmp_path / "vault.db"), "--clock", str(tmp_path / "clock"))
    with Webhook() as webhook, program(tmp_path, *arguments, "--webhook", webhook.url) as running:
        eventually(lambda: bool(webhook.handshakes))
        requests.post(f"{running.description['admin_url']}/seed", json={"count": 1}, timeout=60).raise_for_status()
        running.end(signal.SIGKILL)
        clock.advance(340 * 86400)
        with VaultServer(tmp_path, clock, tmp_path / "vault.db", webhook=webhook.url):
            eventually(lambda: webhook.types("seed-00000") == ["NearExpiry"])
        with VaultServer(tmp_path, clock, tmp_path / "vault.db", webhook=webhook.url):
            time.sleep(0.3)
            assert webhook.types("seed-00000") == ["NearExpiry"]


def test_an_event_that_was_not_delivered_before_a_kill_is_delivered_after(tmp_path: Path) -> None:
    arguments = ("--data", str(tmp_path / "vault.db"))
    with Webhook() as webhook:
        webhook.validate = False
        with program(tmp_path, *arguments, "--webhook", webhook.url) as running:
            created = running.send(
                "POST", "/certificates/a/create", json={"policy": {**POLICY, "issuer": {"name": "Self"}}}
            )
            assert created.status_code == 202
            eventually(lambda: running.send("GET", "/certificates/a/pending").json()["status"] == "completed")
            running.end(signal.SIGKILL)
        webhook.validate = True
        with VaultServer(tmp_path, data=tmp_path / "vault.db", webhook=webhook.url):
            eventually(lambda: webhook.types("a") == ["NewVersionCreated"])


def test_a_subscription_outlives_the_vault_with_all_that_it_says(tmp_path: Path) -> None:
    """Also one that came by the admin API: nobody renews it before the new process looks at what is left."""
    data, kind = tmp_path / "vault.db", "Microsoft.KeyVault.CertificateNewVersionCreated"
    subscription = {"schema": "CloudEventSchemaV1_0", "event_types": [kind], "retry_delays": [0.05]}
    with Webhook() as webhook:
        webhook.validate = False
        with in_process(tmp_path, data) as running:
            events = f"{running.description['admin_url']}/events"
            requests.put(events, json={"webhook": webhook.url, **subscription}, timeout=60).raise_for_status()
            body = {"policy": {**POLICY, "issuer": {"name": "Self"}}}
            assert running.send("POST", "/certificates/a/create", json=body).status_code == 202
            eventually(lambda: running.send("GET", "/certificates/a/pending").json()["status"] == "completed")
        webhook.validate = True
        with in_process(tmp_path, data) as running:
            eventually(lambda: webhook.types("a") == ["NewVersionCreated"])
            events = f"{running.description['admin_url']}/events"
            kept = requests.get(events, timeout=60).json()["subscription"]
            assert kept.items() >= {"webhook": webhook.url, **subscription}.items()
            requests.delete(events, timeout=60).raise_for_status()
        with in_process(tmp_path, data) as running:
            events = f"{running.description['admin_url']}/events"
            assert requests.get(events, timeout=60).json()["subscription"] is None


def refused(*arguments: str | Path, largest_file: int = -1) -> str:
    """The message of a program that cannot run. A disk that is full looks like a limit for the size of files."""
    limited = f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))"
    limited += "; runpy.run_module('sandbox.vault', run_name='__main__')"
    command = [sys.executable, "-c", limited, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("the sandbox vault cannot run: ")
    return done.stderr


def test_a_port_that_is_taken_is_told_and_ends_the_program(tmp_path: Path) -> None:
    with in_process(tmp_path / "a") as running:
        port = running.description["vault_url"].rpartition(":")[2]
        assert "in use" in refused("--directory", tmp_path / "b", "--port", port)


def test_a_directory_or_a_file_that_another_vault_uses_is_told_and_both_stay_as_they_are(tmp_path: Path) -> None:
    """Each keeps all in memory: of two that write into one file, the second would undo what the first has promised."""
    one, data = tmp_path / "one", tmp_path / "vault.db"
    with program(one, "--data", str(data)) as running:
        assert running.create("a").status_code == 202
        described = (one / "vault.json").read_bytes()
        assert "runs in" in refused("--directory", one)
        assert "vault.db" in refused("--directory", tmp_path / "two", "--data", data)
        assert running.create("b").status_code == 202
        assert (one / "vault.json").read_bytes() == described
        running.end(signal.SIGKILL)
    with in_process(tmp_path / "two", data) as again:
        assert [again.send("GET", f"/certificates/{name}/pending").status_code for name in ("a", "b")] == [200, 200]


def test_a_file_that_is_no_state_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database at all\n" * 100)
    assert "notes.txt" in refused("--directory", tmp_path / "vault", "--data", tmp_path / "notes.txt")


@pytest.mark.parametrize("largest_file", [0, 50, 150, 240, 400, 700, 1000])
def test_a_start_that_ends_half_way_does_not_prevent_the_next(tmp_path: Path, largest_file: int) -> None:
    refused("--directory", tmp_path, largest_file=largest_file)
    with in_process(tmp_path) as running:
        assert running.send("GET", "/certificates").status_code == 200
        root = (tmp_path / "ca.pem").read_bytes()
    with in_process(tmp_path) as running:
        assert running.send("GET", "/certificates").status_code == 200
        assert (tmp_path / "ca.pem").read_bytes() == root


# -- in process -----------------------------------------------------------------------------------------------------


def test_a_certificate_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with VaultServer(tmp_path) as server:
        seed(server.vault, Seed(count=1, tags={"a": "ä"}))
        certificate = server.vault.find("seed-00000")
    assert isinstance(certificate, Certificate)
    assert from_json(to_json(certificate)) == certificate


def test_a_store_keeps_all_changes_of_a_write_or_none(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    store.write([("k", "a", "1"), ("k", "b", "2")])
    with pytest.raises(Exception, match=r"NOT NULL|binding|bind"):
        store.write([("k", "a", None), ("k", "c", {})])  # type: ignore[list-item]
    store.close()
    store = SqliteStore(tmp_path / "a.db")
    assert sorted(store.load()) == [("k", "a", "1"), ("k", "b", "2")]
    store.close()


def test_files_with_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with VaultServer(tmp_path):
        for name in ("identity.json", "ca-key.pem", "server.pem"):
            assert (tmp_path / name).stat().st_mode & 0o077 == 0, name


def test_two_clocks_share_one_file(tmp_path: Path) -> None:
    one, two = Clock(tmp_path / "clock"), Clock(tmp_path / "clock")
    assert two.offset == 0
    one.advance(100)
    assert two.offset == 100
    two.advance(-30)
    assert one.offset == 70
    one.set(time.time() + 500)
    assert two.now() == pytest.approx(time.time() + 500, abs=1)
    assert (tmp_path / "clock").read_text() == repr(one.offset)
    assert [path.name for path in tmp_path.iterdir()] == ["clock"]


def test_a_clock_without_a_file_is_its_own() -> None:
    one, two = Clock(), Clock()
    one.advance(100)
    assert (one.offset, two.offset) == (100, 0)
