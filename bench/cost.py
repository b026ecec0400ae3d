"""What a year costs: the requests of each sweep, check, poll, digest and renewal are counted, and multiplied.

What a caller asks for is counted besides: a creation, an import, a list by issuer.

    python3 dev.py bench cost [--blocks 2]

Counted by the code's own requests to the sandbox vault and to Azurite's tables, for an authority that signs at once and
certificates of a year, each renewed 1.5 times a year. The host's own requests (to two queues) are not in it.
"""

import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import trustme
from trustme import KeyType

from bench._app import POLICY
from bench._fleet import ALIAS, AUTHORITY, Fleet
from bench._report import Line, arguments, conclude
from certrelay.certificates import create, import_file, read
from certrelay.keyvault.certificate import PAGE
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.renewal.next_read import LONGEST_REST
from certrelay.renewal.vault_list import BLOCK
from certrelay.watch import timers
from sandbox.vault import seed

HOURS, MINUTES, DAYS = 365 * 24, 365 * 24 * 60, 365
READS = HOURS / (LONGEST_REST.total_seconds() / 3600)
RENEWALS = 1.5  # a year: a certificate of 365 days is renewed when a third of it is left
# USD for 10,000 operations (standard tier): https://learn.microsoft.com/answers/questions/5608202, read on 2026-11-29
PRICE = 0.03

WHAT = {
    "block": f"{BLOCK} certificates of a list", "list": "a list besides them", "check": "a check", "poll": "a poll",
    "digest": "a digest besides its lists", "renewal": "a renewal", "creation": "a creation", "import": "an import",
    "issuer": "`GET certificates?issuer=`, the costliest page of the list",
}  # fmt: skip

# Requests to Key Vault: of a page by issuer the 40 pages of its list that it reads, and a page of certificates
MOST = {"creation": 3, "renewal": 4, "import": 2, "poll": 0, "check": 1, "issuer": 40 + PAGE}

type Calls = Counter[str]


def measure(blocks: int) -> dict[str, Calls]:
    """Requests by service: of a `block` of certificates that a sweep reads, of a `list` besides its blocks, of a sweep
    that only `check`s a vault, of an idle `poll`, of a `digest` besides its blocks, of a `renewal`, a `creation`, an
    `import`, and of the costliest request for those of an `issuer`."""
    with Fleet() as fleet:
        sweep: Callable[[], object] = lambda: timers.sweep(fleet.services)  # noqa: E731
        fleet.seed(BLOCK, "some", timedelta(days=10))
        sweep()  # clients and tables are made, and the timers are known
        small = _read_again(fleet, sweep)
        fleet.seed(BLOCK * blocks, "more", timedelta(days=10))
        block = Counter({name: -(-count // blocks) for name, count in (_read_again(fleet, sweep) - small).items()})
        fleet.wait(1)
        timers.poll(fleet.services)
        check = fleet.counted(sweep)
        poll = fleet.counted(lambda: timers.poll(fleet.services))
        digest = fleet.counted(lambda: timers.digest(fleet.services))
        names = fleet.seed(11, "due", timedelta(days=300))
        _renew(fleet, names[:1])  # the first one makes the connections
        renewals = fleet.counted(lambda: _renew(fleet, names[1:]))
        own = {
            "creation": fleet.counted(lambda: _create(fleet, "created")),
            "import": fleet.counted(lambda: _import(fleet, "imported")),
            "issuer": _costliest_page(fleet, BLOCK * 2),
        }
    return {
        "block": block, "list": small - block - check, "check": check, "poll": poll,
        "digest": digest - Counter({name: count * (blocks + 1) for name, count in block.items()}),
        "renewal": Counter({name: -(-renewals[name] // 10) for name in renewals}), **own,
    }  # fmt: skip


def _read_again(fleet: Fleet, sweep: Callable[[], object]) -> Calls:
    """The requests of a sweep that has to read the list."""
    fleet.wait(LONGEST_REST.total_seconds() / 3600)
    timers.poll(fleet.services)
    return fleet.counted(sweep)


def _costliest_page(fleet: Fleet, certificates: int) -> Calls:
    """Of all pages of a list by issuer, each one request, in which Key Vault has to be asked for each policy."""
    seed.seed(fleet.server.vault, seed.Seed(certificates, "foreign", issuer="Self"))
    asked: list[Calls] = []
    continuation: str | None = None

    def read_page() -> None:
        nonlocal continuation
        filters = read.Filters(issuer="Unknown")
        _, continuation = read.certificates(fleet.services, ALIAS, filters, PAGE, continuation)

    while not asked or continuation:
        asked.append(fleet.counted(read_page))
    return max(asked, key=Counter.total)


def _renew(fleet: Fleet, names: list[str]) -> None:
    for name in names:
        renew.renew_if_due(fleet.services, ALIAS, name, Origin(requested_by="bench", reason="due"))
    fleet.settle()


def _create(fleet: Fleet, name: str) -> None:
    spec = create.CertificateSpec(authority=AUTHORITY, dns_names=(f"{name}.example.com",), policy=POLICY)
    create.create(fleet.services, ALIAS, name, spec, requested_by="bench")
    fleet.settle()


def _import(fleet: Fleet, name: str) -> None:
    issued = trustme.CA(key_type=KeyType.ECDSA).issue_cert(f"{name}.example.com", key_type=KeyType.ECDSA)
    pem = issued.private_key_and_cert_chain_pem.bytes().decode()
    import_file.import_certificate(
        fleet.services, ALIAS, name, import_file.ImportCommand(value=pem), requested_by="bench"
    )


def year(one: dict[str, Calls], service: str, certificates: int, vaults: int, reads: float) -> dict[str, float]:
    """Requests to a service in a year, by cause, if each list is read `reads` times."""
    in_blocks = certificates / BLOCK * one["block"][service]
    return {
        "sweeps": reads * (in_blocks + vaults * one["list"][service]) + HOURS * (one["check"][service] - 1 + vaults),
        "digests": DAYS * (in_blocks + one["digest"][service]),
        "polls": MINUTES * one["poll"][service],
        "renewals": RENEWALS * certificates * one["renewal"][service],
    }


def main() -> int:
    given = arguments("cost", __doc__, blocks=2)
    one = measure(given.blocks)
    lines = [
        Line(WHAT[what], ", ".join(f"{name} {count}" for name, count in sorted(calls.items()) if count) or "none")
        for what, calls in one.items()
    ]
    for certificates, vaults in ((1_000, 1), (100_000, 20)):
        for how, reads in (("each hour", HOURS), ("as its lifetimes allow", READS)):
            asked = year(one, "Key Vault", certificates, vaults, reads)
            stored = year(one, "tables", certificates, vaults, reads)
            total, share = sum(asked.values()), asked["sweeps"] / sum(asked.values())
            shown = f"{total:,.0f}, sweeps {share:.0%}; {total / 10_000 * PRICE:.2f} USD"
            what = f"{certificates:,} in {vaults}, lists read {how}"
            lines.append(Line(f"{what}: Key Vault", shown))
            lines.append(Line(f"{what}: tables", f"{sum(stored.values()):,.0f}"))
    for what, most in MOST.items():
        lines.append(Line(f"Key Vault: {WHAT[what]}", str(one[what]["Key Vault"]), one[what]["Key Vault"], most))
    return conclude("cost", given, lines)


if __name__ == "__main__":
    sys.exit(main())
