"""PowerDNS's authoritative server from Debian, with its HTTP API, on free ports of 127.0.0.1."""

import sqlite3
from pathlib import Path
from typing import Any, Self

import requests

from sandbox.ports import free_ports
from tests.connectors.acme.pebble import Program, listens
from tests.connectors.debian import unpacked

PACKAGES = [
    *("pdns-server", "pdns-backend-sqlite3", "libboost-program-options1.83.0", "libbrotli1", "libc6", "libcap2"),
    *("libcom-err2", "libcrypt1", "libcurl4t64", "libffi8", "libgcc-s1", "libgmp10", "libgnutls30t64"),
    *("libgssapi-krb5-2", "libhogweed6t64", "libidn2-0", "libk5crypto3", "libkeyutils1", "libkrb5-3"),
    *("libkrb5support0", "libldap2", "libluajit-5.1-2", "libnettle8t64", "libnghttp2-14", "libnghttp3-9"),
    *("libp11-kit0", "libpsl5t64", "librtmp1", "libsasl2-2", "libsodium23", "libsqlite3-0", "libssh2-1t64"),
    *("libssl3t64", "libstdc++6", "libsystemd0", "libtasn1-6", "libunistring5", "libzstd1", "zlib1g"),
]
API_KEY = "canary-powerdns-api-key"
ZONE = "example.com"
CONFIGURATION = """
module-dir={libraries}/pdns
launch=gsqlite3
gsqlite3-database={folder}/zones.sqlite3
local-address=127.0.0.1
local-port={port}
api=yes
api-key={key}
webserver=yes
webserver-address=127.0.0.1
webserver-port={api_port}
webserver-allow-from=127.0.0.1
socket-dir={folder}
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
daemon=no
guardian=no
"""


class PowerDns:
    """One server that is authoritative for ZONE, where `alias` is an alias. It resolves nothing else."""

    def __init__(self, folder: Path) -> None:
        root = unpacked("pdns", PACKAGES)
        libraries = root / "usr/lib/x86_64-linux-gnu"
        schema = root / "usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
        with sqlite3.connect(folder / "zones.sqlite3") as database:
            database.executescript(schema.read_text())
        database.close()
        [self.port, self.api_port] = free_ports(2)
        text = CONFIGURATION.format(
            libraries=libraries, folder=folder, port=self.port, key=API_KEY, api_port=self.api_port
        )
        (folder / "pdns.conf").write_text(text)
        loader: list[str | Path] = [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries]
        command: list[str | Path] = [*loader, root / "usr/sbin/pdns_server", f"--config-dir={folder}"]
        self._program = Program(command, lambda: listens(self.api_port) and listens(self.port))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def __enter__(self) -> Self:
        self._program.start()
        alias = {
            "name": f"_acme-challenge.alias.{ZONE}.",
            "type": "CNAME",
            "ttl": 5,
            "records": [{"content": f"elsewhere.{ZONE}.", "disabled": False}],
        }
        self.ask("POST", "/zones", name=f"{ZONE}.", kind="Native", nameservers=[f"ns.{ZONE}."], rrsets=[alias])
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """The answer of the HTTP API."""
        address = f"{self.url}/api/v1/servers/localhost{path}"
        answer = requests.request(method, address, headers={"X-API-Key": API_KEY}, json=body or None, timeout=60)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def texts(self, name: str) -> list[str]:
        """The TXT records that lie at a name."""
        zone = self.ask("GET", f"/zones/{ZONE}.")
        found = [rrset["records"] for rrset in zone["rrsets"] if rrset["type"] == "TXT" and rrset["name"] == f"{name}."]
        return sorted(record["content"].strip('"') for records in found for record in records)
