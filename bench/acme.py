"""Certificates from one local pebble: CertRelay's whole app against a bare client, certbot, lego and dehydrated.

    python3 dev.py bench acme [--certificates 500] [--rounds 3] [--commands 8]

`--certificates` is how many CertRelay and the bare client get in each round, `--commands` how many each of the others,
which take turns. With few, it is measured how long the first message waits for the host's next poll: up to five seconds
(maxPollingInterval). The authority finds every challenge valid, so that nobody waits for a DNS. CertRelay creates each
key in the sandbox's Key Vault and merges the certificate there, with the vault's rate limit raised; the others make
keys in memory, or keep files.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench._acme_peers import AT_ONCE, Peer, found, rate
from bench._app import App, median_cpu, running, unthrottled
from bench._report import Line, arguments, conclude, in_turns, ratio
from certrelay.schedules import SCHEDULES
from tests.connectors.acme.pebble import Pebble, TestDns

LEAST_OF_BARE, LEAST_OF_CERTBOT = 0.8, 20.0
MOST_SIGNED = 8.0  # six (docs/connectors.md), and a look while the authority validates and one while it signs
OURS, BARE, LOOP, FOUR = "CertRelay", "`acme` bare, 24 threads", "certbot in a loop", "certbot, 4 at once"


@contextmanager
def with_account(folder: Path, pebble: Pebble) -> Iterator[App]:
    """The app, with its account at the authority made."""

    def settings(own: Mapping[str, str]) -> dict[str, str]:
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        authority = {
            "connector": "bench._acme_authority:AcmeWithoutDns", "url": pebble.directory,
            "ca_certificates": pebble.tls_roots, "account_key_pem": "@ACCOUNT_KEY",
            "profile": "default",  # without one, pebble picks 6 days for half of them: Key Vault then says at once that
        }  # fmt: skip              # they end soon, and the app looks at each once more
        return {
            **unthrottled(own),
            "CERTRELAY_AUTHORITIES": json.dumps({"pebble": authority}),
            "ACCOUNT_KEY": key.decode(),
            "CERTRELAY_POLL_SCHEDULE": SCHEDULES["CERTRELAY_POLL_SCHEDULE"],  # the sandbox polls every five seconds
        }

    with running(folder, settings, "pebble", "example.com") as app:
        app.rate("first", 1)
        app.cpu.clear()
        yield app


def bare(pebble: Pebble, cpu: list[float], prefix: str, count: int) -> float:
    """Certificates a second of the bare client, without the start of its process; its CPU (s) for one goes to `cpu`."""
    command = [sys.executable, "-m", "bench._bare_acme", pebble.directory, pebble.roots_file, prefix, str(count)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)
    seconds, taken = json.loads(shown.stdout)
    cpu.append(taken / count)
    return count / float(seconds)


class Measured(NamedTuple):
    """By contestant: certificates a second in each round. By process: CPU (s) for one. And who is skipped, and why.

    `signed`: the requests for an order of CertRelay's, each a signature by the account key, in each round."""

    rates: dict[str, list[float]]
    cpu: dict[str, float]
    signed: list[float]
    skipped: dict[str, str]


def measure(certificates: int, rounds: int, commands: int) -> Measured:
    """All contestants, in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dns = stack.enter_context(TestDns())
        pebble = stack.enter_context(
            Pebble(folder / "pebble", dns.port, PEBBLE_VA_ALWAYS_VALID="1", PEBBLE_AUTHZREUSE="0")
        )
        app = stack.enter_context(with_account(folder / "sandbox", pebble))
        peers, skipped = found(pebble, dns, folder / "peers") if commands else ({}, {})
        of_bare: list[float] = []
        signed: list[float] = []
        contestants = {
            OURS: lambda number: _ours(app, pebble, signed, f"ours-{number}", certificates),
            BARE: lambda number: bare(pebble, of_bare, f"bare-{number}", certificates),
        }
        for name, peer in peers.items():
            for processes in sorted({1, AT_ONCE[name]}):
                title = f"{name}, {processes} at once" if processes > 1 else f"{name} in a loop"
                contestants[title] = partial(_turn, peer, title, commands, processes)
        rates = in_turns(contestants, rounds)
        return Measured(rates, {**median_cpu(app.cpu), "bare client": statistics.median(of_bare)}, signed, skipped)


def _ours(app: App, pebble: Pebble, signed: list[float], prefix: str, count: int) -> float:
    def posts() -> int:
        return pebble.log.read_text(errors="replace").count(" POST /")

    before, rate_of_app = posts(), app.rate(prefix, count)
    signed.append((posts() - before) / count)
    return rate_of_app


def _turn(peer: Peer, title: str, commands: int, processes: int, number: int) -> float:
    return rate(peer, f"{title.replace(', ', '-').replace(' ', '-')}-{number}", commands, processes)


def lines(measured: Measured) -> list[Line]:
    """The table of what `measure` has found."""
    rates, cpu, signed, skipped = measured
    ours = rates[OURS]
    shown = [Line(name, f"{statistics.median(taken):.2f} a second") for name, taken in rates.items()]
    shown += [Line(f"{name}: skipped", why) for name, why in skipped.items()]
    parts = ", ".join(f"{part} {seconds * 1000:.0f} ms" for part, seconds in cpu.items())
    shown.append(Line("CPU a certificate", parts))
    requests = statistics.median(signed)
    shown.append(Line("signed requests an order of one name", f"{requests:.1f}", requests, MOST_SIGNED))
    shown.append(ratio("CertRelay against the bare client, medians", ours, rates[BARE], LEAST_OF_BARE, least=True))
    for name in (LOOP, FOUR):
        if name in rates:
            least = LEAST_OF_CERTBOT if name == FOUR else None
            shown.append(ratio(f"CertRelay against {name}, medians", ours, rates[name], least, least=True))
    return shown


def main() -> int:
    given = arguments("acme", __doc__, certificates=500, rounds=3, commands=8)
    measured = measure(given.certificates, given.rounds, given.commands)
    return conclude("acme", given, lines(measured), "acme", "azure-functions", "azure-data-tables")


if __name__ == "__main__":
    sys.exit(main())
