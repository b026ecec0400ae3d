"""Measures the sweep: `python3 dev.py bench sweep [--certificates 10000]`.

Seconds for each 1,000 certificates of a sweep in which nothing is due, against a floor taken in turns with it: a bare
HTTP client that reads the same pages of the list. What the sweep costs beyond that are its notes (one query of the
storage account a page) and the SDK. Exit code 1 when the ratio is over the limit.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.keyvault.certificates import CertificateClient

from bench.vault import Program
from certrelay import settings
from certrelay.keyvault.certificate import PAGE
from certrelay.keyvault.client import API_VERSION, Vault
from certrelay.renewal import sweep
from certrelay.services import Services
from certrelay.storage.ledger import Ledger
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite

ROUNDS = 3
LIMIT = 6.0


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


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(certificates: int) -> dict[str, float]:
    """Seconds for 1,000 certificates: `sweep`, `floor`, and their `ratio`."""
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
            times = [
                (_seconds(lambda: sweep.sweep(services)), _seconds(lambda: _read_all_pages(program)))
                for _ in range(ROUNDS)
            ]
        finally:
            client.close()
            program.end()
    thousands = certificates / 1000
    swept, floor = (statistics.median(pair[side] for pair in times) / thousands for side in (0, 1))
    return {"sweep": swept, "floor": floor, "ratio": swept / floor}


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench sweep", description=__doc__)
    parser.add_argument("--certificates", type=int, default=10_000)
    found = measure(parser.parse_args().certificates)
    print(f"sweep, 1,000 certificates       {found['sweep']:.3f} s")
    print(f"the same pages, bare client     {found['floor']:.3f} s")
    print(f"ratio                           {found['ratio']:.2f} (limit {LIMIT:.0f})")
    return 1 if found["ratio"] > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
