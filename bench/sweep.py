"""Measures the sweep: `python3 dev.py bench sweep [--certificates 10000]`.

What 1,000 certificates of a sweep in which nothing is due take, against two floors taken in turns with it: a bare HTTP
client that reads the same pages of the list, and the SDK's own list of certificate properties. What the sweep costs
beyond the bare client are the SDK's pipeline (identity, retries), its look at each certificate, and one query of the
storage account for each 500. The vault answers from this machine's memory; Key Vault's network takes longer than all.
"""

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from azure.core.credentials import AccessToken
from azure.keyvault.certificates import CertificateClient

from bench._report import Line, arguments, conclude, in_turns, milliseconds, ratio, seconds
from bench.vault import Program
from certrelay import settings
from certrelay.keyvault.certificate import PAGE
from certrelay.keyvault.client import API_VERSION, connect
from certrelay.renewal import sweep
from certrelay.renewal.vault_list import in_blocks
from certrelay.services import Services
from certrelay.storage.ledger import Ledger
from certrelay.storage.renewal_record import RenewalRecord, to_entity
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite

ALIAS, LIMIT = "main", 1.5
NAMES = '[["www.contoso.example", "contoso.example"], 0]'
CONTESTANTS = {
    "sweep": "sweep, 1,000 certificates", "records": "the same, each with a renewal record",
    "sdk": "the same pages, the SDK's list", "floor": "the same pages, bare client",
}  # fmt: skip


class Taken(NamedTuple):
    """Seconds: on the clock, and of this process's CPU."""

    wall: float
    cpu: float


class _Token:
    def __init__(self, program: Program) -> None:
        self._value = program.session.headers["Authorization"].split()[1]

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(str(self._value), int(time.time()) + 3600)


def _services(token: _Token, url: str, azurite: Azurite, prefix: str) -> Services:
    known = settings.load(
        {
            "AzureWebJobsStorage": azurite.connection_string,
            "CERTRELAY_VAULTS": f'{{"{ALIAS}": {{"url": "{url}"}}}}',
            "CERTRELAY_AUTHORITIES": '{"quick": {"connector": "sandbox.simulation.authority:SimulatedAuthority"}}',
        }
    )
    vault, ledger = connect(url, token), Ledger(Account(known.storage, None), f"bench{prefix}")
    return Services(known, ledger, lambda alias: vault, _unasked, lambda: datetime.now(UTC))


def _unasked(name: str) -> Any:
    raise AssertionError(f"a sweep in which nothing is due asks {name}")


def _read_all_pages(program: Program) -> None:
    url = f"{program.description['vault_url']}/certificates?maxresults={PAGE}&api-version={API_VERSION}"
    while url:
        url = program.page(url)["nextLink"] or ""


def _with_records(services: Services) -> None:
    """Give each certificate the renewal record that its issuance would have left."""
    for block in in_blocks(services.vault(ALIAS).certificates()):
        records = [RenewalRecord(ALIAS, item.name, thumbprint=item.thumbprint, names=NAMES) for item in block]
        for some in itertools.batched(records, 100, strict=False):
            services.storage.renewals._table._client.submit_transaction([("upsert", to_entity(one)) for one in some])


def _sweep_all(services: Services) -> None:
    """A sweep that reads the list although it may rest."""
    services.storage.renewals.note_change(ALIAS, services.now())
    assert sweep.sweep(services).skipped == []


def _taken(work: Callable[[], object]) -> Callable[[int], Taken]:
    """How long `work` takes, as a contestant of a round."""

    def taken(_: int) -> Taken:
        begun = time.process_time()
        wall = seconds(work)
        return Taken(wall, time.process_time() - begun)

    return taken


def measure(certificates: int, rounds: int) -> dict[str, list[Taken]]:
    """What each contestant takes: `sweep`, `records` (the same, each certificate with one), `sdk` and `floor`."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other, Azurite(Path(one)) as azurite:
        program = Program(Path(other))
        url, token, roots = program.description["vault_url"], _Token(program), program.description["ca_bundle"]
        client = CertificateClient(url, token, connection_verify=roots)
        try:
            body = {"count": certificates, "tags": {"certrelay-authority": "quick", "certrelay-validity-days": "365"}}
            program.session.post(f"{program.description['admin_url']}/seed", json=body, timeout=600).raise_for_status()
            bare, known = (_services(token, url, azurite, name) for name in ("a", "b"))
            with patch.dict(os.environ, REQUESTS_CA_BUNDLE=roots):
                for services in (bare, known):
                    assert sweep.sweep(services).started == []  # clients and tables are made
            _with_records(known)
            return in_turns(
                {
                    "sweep": _taken(lambda: _sweep_all(bare)),
                    "records": _taken(lambda: _sweep_all(known)),
                    "sdk": _taken(lambda: list(client.list_properties_of_certificates(max_page_size=PAGE))),
                    "floor": _taken(lambda: _read_all_pages(program)),
                },
                rounds,
            )
        finally:
            client.close()
            program.end()


def of_contestants(found: dict[str, list[Taken]], certificates: int) -> list[Line]:
    """The table: time for 1,000 certificates, and the ratios."""
    thousand, cpu = 1000 / certificates, {name: [one.cpu for one in taken] for name, taken in found.items()}
    wall = {name: [one.wall for one in taken] for name, taken in found.items()}
    lines = []
    for name, what in CONTESTANTS.items():
        shown = milliseconds([taken * thousand for taken in wall[name]])
        lines.append(Line(what, f"{shown}; {statistics.median(cpu[name]) * thousand * 1000:.0f} ms CPU"))
    return [
        *lines,
        ratio("sweep against the bare client, medians", wall["sweep"], wall["floor"], LIMIT),
        ratio("the same, CPU of the process", cpu["sweep"], cpu["floor"]),
        ratio("sweep against the SDK's list, CPU", cpu["sweep"], cpu["sdk"], LIMIT),
        ratio("sweep with records against the SDK's list, CPU", cpu["records"], cpu["sdk"], LIMIT),
    ]


def main() -> int:
    given = arguments("sweep", __doc__, certificates=10_000, rounds=3)
    lines = of_contestants(measure(given.certificates, given.rounds), given.certificates)
    return conclude("sweep", given, lines, "azure-keyvault-certificates", "azure-data-tables", "requests")


if __name__ == "__main__":
    sys.exit(main())
