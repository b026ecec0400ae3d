"""Other ACME clients for `bench acme`, each as its users run it: a command for each certificate.

certbot is from PyPI and has an environment of its own in the cache; lego and dehydrated are from Debian. All answer
dns-01 by a hook that does nothing, since the authority asks no DNS."""

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.connectors.acme.pebble import Pebble, TestDns
from tests.connectors.acme.peers import interpreter
from tests.connectors.debian import CannotFetch, unpacked

CERTBOT = "certbot==5.8.0"
SKIPPED = {
    "uacme": "it takes no roots but the system's",
    "acme-dns-azure": "it signs in to Azure and changes zones there",
}
HOOK = "#!/bin/sh\nexit 0\n"

AT_ONCE = {"certbot": 4, "lego": 1, "dehydrated": 1}

type Peer = Callable[[str], None]  # issues for one name, which begins with a number below AT_ONCE


def found(pebble: Pebble, dns: TestDns, folder: Path) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that this machine can have, and why it cannot have the others."""
    folder.mkdir()
    hook = folder / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    peers, skipped = dict[str, Peer](), dict(SKIPPED)
    makers: dict[str, Callable[[Pebble, Path, Path], Peer]] = {
        "certbot": certbot,
        "lego": partial(lego, f"127.0.0.1:{dns.port}"),
        "dehydrated": dehydrated,
    }
    for name, make in makers.items():
        try:
            peers[name] = make(pebble, folder, hook)
            rate(peers[name], f"first-{name}", AT_ONCE[name], AT_ONCE[name])  # makes the accounts; does it work here?
        except (CannotFetch, subprocess.CalledProcessError, OSError) as error:
            skipped[name] = str(getattr(error, "stderr", "") or error).strip()[-200:]
            peers.pop(name, None)
    return peers, skipped


def certbot(pebble: Pebble, folder: Path, hook: Path) -> Peer:
    python = interpreter(CERTBOT)

    def issue(name: str) -> None:
        own = folder / "certbot" / name.partition("-")[0]  # the slot: only one process may use a directory at a time
        places = [f"--{kind}-dir={own / kind}" for kind in ("config", "work", "logs")]
        _run([
            python, python.with_name("certbot"), "certonly", "--non-interactive", "--agree-tos",
            "--register-unsafely-without-email", "--server", pebble.directory, *places, "--manual",
            "--preferred-challenges=dns", f"--manual-auth-hook={hook}", "--key-type=ecdsa", "-d", name,
        ], REQUESTS_CA_BUNDLE=pebble.roots_file)  # fmt: skip

    return issue


def lego(resolver: str, pebble: Pebble, folder: Path, hook: Path) -> Peer:
    program = unpacked("lego", ["lego"]) / "usr/bin/lego"

    def issue(name: str) -> None:
        _run([
            program, "--accept-tos", "--email=bench@example.com", f"--server={pebble.directory}",
            f"--path={folder / 'lego'}", "--dns=exec", "--dns.disable-cp", f"--dns.resolvers={resolver}",
            f"--domains={name}", "run",
        ], LEGO_CA_CERTIFICATES=pebble.roots_file, LEGO_DISABLE_CNAME_SUPPORT="true", EXEC_PATH=str(hook))  # fmt: skip

    return issue


def dehydrated(pebble: Pebble, folder: Path, hook: Path) -> Peer:
    program, own = unpacked("dehydrated", ["dehydrated"]) / "usr/bin/dehydrated", folder / "dehydrated"
    own.mkdir()
    settings = {
        "CA": pebble.directory, "BASEDIR": own, "CURL_OPTS": f"--cacert {pebble.roots_file}", "HOOK": hook,
        "CHALLENGETYPE": "dns-01", "KEY_ALGO": "prime256v1", "OCSP_FETCH": "no",
    }  # fmt: skip
    (own / "config").write_text("".join(f'{name}="{value}"\n' for name, value in settings.items()))
    _run(["bash", program, "--config", own / "config", "--register", "--accept-terms"])
    return lambda name: _run(["bash", program, "--config", own / "config", "--cron", "--domain", name])


def _run(command: list[str | Path], **more: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more}
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=300)


def rate(peer: Peer, of: str, count: int, at_once: int = 1) -> float:
    """Certificates a second for `count` names with `of` in them, in so many processes at once."""

    def work(slot: int) -> None:
        for number in range(slot, count, at_once):
            peer(f"{slot}-{of}-{number}.example.com")

    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(work, range(at_once)))
    return count / (time.perf_counter() - begun)
