"""Measures the sweep: `python3 dev.py bench sweep [--certificates 10000]`.

Seconds for each 1,000 certificates of a sweep in which nothing is due, against a floor taken in turns with it: a bare
HTTP client that reads the same pages of the list. What the sweep costs beyond that are its notes (one query of the
storage account a page) and the SDK.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.keyvault.certificates import CertificateClient

from bench._report import Line, arguments, conclude, in_turns, milliseconds, ratio, seconds
from bench.vault import Program
from certrelay import settings
from certrelay.keyvault.certificate import PAGE
from certrelay.keyvault.client import API_VERSION, Vault
from certrelay.renewal import sweep
from certrelay.services import Services
from certrelay.storage.ledger import Ledger
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite

LIMIT = 1.5


class _Token:
    def __init__(self, program: Program) -> None:
        self._value = program.session.headers["Authorization"].split()[1]

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(str(self._value), int(time.time()) + 3600)


def _services(client: CertificateClient, url: str, azurite: Azurite) -> Services:
    known = settings.load(
        {
            "AzureWebJobsStorage": azurite.connection_string,
            "CERTRELAY_VAULTS": f'{{"main": {{"url": "{url}"}}}}',
            "CERTRELAY_AUTHORITIES": '{"quick": {"connector": "sandbox.simulation.authority:SimulatedAuthority"}}',
        }
    )
    vault, ledger = Vault(client), Ledger(Account(known.storage, None), "bench")
    return Services(known, ledger, lambda alias: vault, _unasked, lambda: datetime.now(UTC))


def _unasked(name: str) -> Any:
    raise AssertionError(f"a sweep in which nothing is due asks {name}")


def _read_all_pages(program: Program) -> None:
    url = f"{program.description['vault_url']}/certificates?maxresults={PAGE}&api-version={API_VERSION}"
    while url:
        url = program.page(url)["nextLink"] or ""


def _sweep_all(services: Services) -> None:
    """A sweep that reads the list although it may rest."""
    services.storage.renewals.note_change("main", services.now())
    assert sweep.sweep(services).skipped == []


def measure(certificates: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant, `sweep` and `floor`."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other, Azurite(Path(one)) as azurite:
        program = Program(Path(other))
        client = CertificateClient(
            program.description["vault_url"], _Token(program), connection_verify=program.description["ca_bundle"]
        )
        try:
            body = {"count": certificates, "tags": {"certrelay-authority": "quick", "certrelay-validity-days": "365"}}
            program.session.post(f"{program.description['admin_url']}/seed", json=body, timeout=600).raise_for_status()
            services = _services(client, program.description["vault_url"], azurite)
            assert sweep.sweep(services).started == []
            return in_turns(
                {
                    "sweep": lambda _: seconds(lambda: _sweep_all(services)),
                    "floor": lambda _: seconds(lambda: _read_all_pages(program)),
                },
                rounds,
            )
        finally:
            client.close()
            program.end()


def main() -> int:
    given = arguments("sweep", __doc__, certificates=10_000, rounds=3)
    found = measure(given.certificates, given.rounds)
    thousand = 1000 / given.certificates
    return conclude("sweep", given, [
        Line("sweep, 1,000 certificates", milliseconds([taken * thousand for taken in found["sweep"]])),
        Line("the same pages, bare client", milliseconds([taken * thousand for taken in found["floor"]])),
        ratio("ratio of the medians", found["sweep"], found["floor"], LIMIT),
    ], "azure-keyvault-certificates", "azure-data-tables", "requests")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
