"""The deployment package: what is in it, that it is the same each time, and that all of it runs as in Azure."""

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sandbox.azurite import Azurite
from sandbox.vault import VaultServer
from tools import package, sbom

ROOT = Path(__file__).parents[2]
OFFLINE = re.compile("Failed to fetch|error sending request|dns error|Connection refused|timed out", re.IGNORECASE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, unpacked from its zip file."""
    folder = tmp_path_factory.mktemp("package")
    try:
        package.pack(package.stage(folder / "staged"), folder / "package.zip", level=0)  # to compress it takes seconds
    except package.PackageError as error:
        if OFFLINE.search(str(error)):
            pytest.skip(f"the dependencies cannot be downloaded here: {error}")
        raise
    with zipfile.ZipFile(folder / "package.zip") as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def telemetry() -> Iterator[tuple[str, list[str]]]:
    """An ingestion endpoint of Application Insights on loopback: its connection string, and what it was sent."""
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            text = (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()
            sent.append(text)
            number = text.count('"iKey"')
            answer = json.dumps({"itemsReceived": number, "itemsAccepted": number, "errors": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        yield f"InstrumentationKey={uuid.UUID(int=1)};IngestionEndpoint={address};LiveEndpoint={address}", sent
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def ran(built: Path, azurite: Azurite, vault_server: VaultServer, telemetry: tuple[str, list[str]]) -> dict[str, Any]:
    """What a Python without any package made of it, with nothing in its environment but what Azure would give."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    environment = {
        **{name: value for name, value in sample.items() if name.endswith("_SCHEDULE")},
        "AzureWebJobsStorage": azurite.connection_string,
        "CERTRELAY_VAULTS": json.dumps({"main": {"url": vault_server.url}}),
        "CERTRELAY_AUTHORITIES": json.dumps({"people": {"connector": "manual"}}),
        "IDENTITY_ENDPOINT": vault_server.identity_endpoint,
        "IDENTITY_HEADER": vault_server.identity_header,
        "REQUESTS_CA_BUNDLE": str(vault_server.ca_bundle),
        "SSL_CERT_FILE": str(vault_server.ca_bundle),
        "HOME": str(built.parent),
        "TMPDIR": str(built.parent),
        "APPLICATIONINSIGHTS_CONNECTION_STRING": telemetry[0],
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",  # it goes to an address of Microsoft's
        "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",
    }
    bare = getattr(sys, "_base_executable", sys.executable)
    driver, worker = Path(__file__).with_name("packaged_app.py"), ROOT / "sandbox/host/worker.py"
    run = subprocess.run(
        [bare, "-I", "-S", "-B", "-W", "ignore", driver, worker, built],
        env=environment, cwd=built.parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the package is for Linux")
def test_microsofts_worker_runs_every_function_of_the_package_in_an_empty_environment(ran: dict[str, Any]) -> None:
    functions = ran["functions"]
    assert {"poll_operations", "advance_operation", "certificate_events", "get_readiness"} <= functions.keys()
    for name, outcome in functions.items():
        assert outcome["ok"], (name, outcome)
        assert (outcome["status"] or 200) < 500, (name, outcome)
    assert functions["get_readiness"]["status"] == 200, functions["get_readiness"]
    assert functions["list_certificates"]["status"] == 200, functions["list_certificates"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the package is for Linux")
def test_what_runs_is_seen_in_application_insights(ran: dict[str, Any], telemetry: tuple[str, list[str]]) -> None:
    assert ran["monitored"] is True
    assert any(re.search(r"swept \d+ certificates", text) for text in telemetry[1]), sorted(
        set(re.findall(r'"message": "([^"]{0,60})', str(telemetry[1])))
    )
    kinds = set(re.findall(r'"baseType": "(\w+)"', str(telemetry[1])))
    assert {"MessageData", "MetricData", "RemoteDependencyData"} <= kinds


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the package is for Linux")
def test_nothing_came_from_elsewhere_than_the_package_and_the_standard_library(
    ran: dict[str, Any], built: Path
) -> None:
    allowed = (
        str(built),
        os.path.realpath(Path(os.__file__).parent),
        str(Path(__file__).parent),
        str(ROOT / "sandbox"),
    )
    foreign = {name: path for name, path in ran["origins"].items() if not os.path.realpath(path).startswith(allowed)}
    assert foreign == {}
    assert not [path for path in ran["origins"].values() if "site-packages" in path and not path.startswith(str(built))]


@pytest.mark.slow
def test_the_package_holds_the_app_and_the_locked_dependencies_and_nothing_else(built: Path) -> None:
    assert {path.name for path in built.iterdir()} == {*package.DEPLOYED, ".python_packages"}
    packages = built / package.PACKAGES
    installed = {canonicalize_name(one.name): f"=={one.version}" for one in distributions(path=[str(packages)])}
    lines = re.findall(r"^[\w.-]+==[^\\\n]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    locked = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate(sbom.AZURE)]
    assert {canonicalize_name(one.name): str(one.specifier) for one in locked} == installed
    native = list(packages.rglob("*.so"))
    assert native
    assert all("x86_64-linux-gnu" in path.name or "abi3" in path.name or path.read_bytes()[18] == 62 for path in native)
    assert not [path for path in built.rglob("*") if path.suffix in (".pyc", ".exe", ".dll", ".pyd")]


def test_a_zip_has_the_same_bytes_whenever_and_in_whatever_order_the_files_were_written(tmp_path: Path) -> None:
    contents = {"b.py": "b", "a/z.py": "z", "a/b.py": "ab", "A.py": "A"}
    for folder, names, when in (
        ("one", list(contents), 1_000_000_000),
        ("two", list(reversed(contents)), 1_700_000_000),
    ):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents[name])
            path.chmod(0o755 if folder == "one" else 0o600)
            os.utime(path, (when, when))
        (tmp_path / folder / "__pycache__").mkdir()
        (tmp_path / folder / "__pycache__" / f"{folder}.pyc").write_text(folder)
        package.pack(tmp_path / folder, tmp_path / f"{folder}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == contents


def distribution(folder: Path, name: str, *lines: str) -> None:
    metadata = folder / f"{name}-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, ""]))


def test_the_bill_of_materials_names_every_package_with_its_licence_and_what_it_needs_on_linux(tmp_path: Path) -> None:
    distribution(
        tmp_path, "one", "License-Expression: MIT", "Requires-Dist: Two", "Requires-Dist: three; sys_platform=='win32'"
    )
    distribution(
        tmp_path, "Two", "Classifier: License :: OSI Approved :: BSD License", "Requires-Dist: one; extra=='x'"
    )
    distribution(tmp_path, "three")
    bill = json.loads(sbom.document(tmp_path, "9.8.7", "c0ffee"))
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["version"] == "9.8.7"
    by_name = {one["name"]: one for one in bill["components"]}
    assert by_name["one"]["licenses"] == [{"expression": "MIT"}]
    assert by_name["Two"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert "licenses" not in by_name["three"]
    needs = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert needs["pkg:pypi/one@1.0"] == ["pkg:pypi/two@1.0"]
    assert needs["pkg:pypi/two@1.0"] == []
    assert needs["certrelay"] == ["pkg:pypi/one@1.0", "pkg:pypi/three@1.0", "pkg:pypi/two@1.0"]
    assert sbom.document(tmp_path, "9.8.7", "c0ffee") == sbom.document(tmp_path, "9.8.7", "c0ffee")
