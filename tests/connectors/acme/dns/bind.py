"""ISC BIND from Debian with two zones that a TSIG key may change, on a free port of 127.0.0.1."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sandbox.ports import free_ports
from tests.connectors.acme.pebble import Program, resolves
from tests.connectors.debian import unpacked

PACKAGES = [
    *("bind9", "bind9-libs", "libc6", "libcap2", "libcom-err2", "libfstrm0", "libgcc-s1", "libgssapi-krb5-2"),
    *("libicu76", "libjemalloc2", "libjson-c5", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0"),
    *("liblmdb0", "liblzma5", "libmaxminddb0", "libnghttp2-14", "libprotobuf-c1", "libssl3t64", "libstdc++6"),
    *("liburcu8t64", "libuv1t64", "libxml2", "libzstd1", "zlib1g"),
]
KEY_NAME, KEY_SECRET = "acme-key", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyLWI="
ZONES = {
    "example.com": "_acme-challenge.alias IN CNAME alias.challenges.example.org.\n"
    "*.hosts IN CNAME front.challenges.example.org.\n",
    "challenges.example.org": "",
}
CONFIGURATION = """
options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; managed-keys-directory "{folder}"; dnssec-validation no; recursion yes;
  notify no; allow-recursion {{ 127.0.0.1; }}; forwarders {{ 127.0.0.1 port 1; }}; forward only; }};
controls {{ }};
key {key} {{ algorithm hmac-sha256; secret "{secret}"; }};
"""
ZONE = """
zone "{zone}" {{ type master; file "{zone}.zone"; update-policy {{ grant {key} zonesub TXT; }}; }};
"""
RECORDS = """$TTL 5
@ IN SOA ns0.{zone}. hostmaster.{zone}. 1 60 60 3600 5
{more}"""


class Bind:
    """One server that is authoritative for ZONES, and resolves their aliases; they name `name_servers` as theirs."""

    def __init__(self, folder: Path, name_servers: Sequence[str] = ("127.0.0.1",)) -> None:
        root = unpacked("bind9", PACKAGES)
        libraries = root / "usr/lib/x86_64-linux-gnu"
        [self.port] = free_ports(1)
        text = CONFIGURATION.format(folder=folder, port=self.port, key=KEY_NAME, secret=KEY_SECRET)
        named = "".join(f"@ IN NS ns{at}\nns{at} IN A {address}\n" for at, address in enumerate(name_servers))
        for zone, more in ZONES.items():
            (folder / f"{zone}.zone").write_text(RECORDS.format(zone=zone, more=named + more))
            text += ZONE.format(zone=zone, key=KEY_NAME)
        (folder / "named.conf").write_text(text)
        loader: list[str | Path] = [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries]
        program: list[str | Path] = [root / "usr/sbin/named", "-f", "-n", "1", "-c", folder / "named.conf"]
        self._program = Program([*loader, *program], self._is_ready, HOME=os.environ.get("HOME", "/"))

    def _is_ready(self) -> bool:
        return all(resolves("127.0.0.1", self.port, zone) for zone in ZONES)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._program.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()
