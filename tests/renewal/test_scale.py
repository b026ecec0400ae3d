"""The sweep over large vaults: what it costs, in which order it works, and that nobody is starved."""

import gc
import logging
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.keyvault.certificates import CertificateClient

from bench.vault import Program
from certrelay import settings
from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Unavailable
from certrelay.keyvault.client import Vault
from certrelay.renewal import digest, sweep
from certrelay.services import Services
from certrelay.storage.ledger import Ledger
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite
from tests.world import ALIAS, World

DAY = 86_400
TAGS = {"certrelay-authority": "test-ca", "certrelay-validity-days": "365"}


class LargeVault:
    """The sandbox vault in a process of its own, so that its memory is not measured, and the app's services on it."""

    def __init__(self, program: Program, azurite: Azurite, prefix: str, batch: int = 100) -> None:
        self._program, self._url = program, program.description["vault_url"]
        known = settings.load(
            {
                "AzureWebJobsStorage": azurite.connection_string,
                "CERTRELAY_VAULTS": f'{{"{ALIAS}": {{"url": "{self._url}"}}}}',
                "CERTRELAY_AUTHORITIES": '{"test-ca": {"connector": "tests.world:TestCa"}}',
                "CERTRELAY_RENEWAL_BATCH": str(batch),
            }
        )
        self.client = CertificateClient(self._url, self, connection_verify=program.description["ca_bundle"])
        vault = Vault(self.client)
        self.services = Services(
            known, Ledger(Account(known.storage, None), prefix), lambda alias: vault, _no_connector,
            lambda: datetime.now(UTC),
        )  # fmt: skip

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        answer = self._admin("POST", "token", {}).json()
        return AccessToken(answer["access_token"], int(datetime.now(UTC).timestamp()) + 3600)

    def seed(self, count: int, prefix: str, age_days: float, **tags: str) -> None:
        body = {"count": count, "prefix": prefix, "age": age_days * DAY, "tags": TAGS | tags}
        self._admin("POST", "seed", body).raise_for_status()

    def read_again(self) -> None:
        """Let the next sweep read the list, though it may rest."""
        self.services.storage.renewals.note_change(ALIAS, datetime.now(UTC))

    def later(self, hours: int) -> Services:
        return replace(self.services, now=lambda: datetime.now(UTC) + timedelta(hours=hours))

    def requests(self) -> dict[str, int]:
        """Key Vault requests by kind since the last call, without the challenges."""
        counts: dict[str, int] = self._admin("GET", "requests").json()["counts"]
        self._admin("DELETE", "requests")
        counts.pop("Challenge", None)
        return counts

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        address = f"{self._program.description['admin_url']}/{path}"
        return self._program.session.request(method, address, json=body, timeout=120)


def _no_connector(name: str) -> Any:
    raise AssertionError("a sweep asks no authority")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    running = Program(tmp_path)
    yield running
    running.end()


def peak_of_a_sweep(large: LargeVault) -> int:
    """In bytes. Garbage is collected at every page: how much of it lies about depends on the whole process."""
    vault = large.services.vault(ALIAS)
    read = vault.page
    large.read_again()

    def page(path: str) -> Any:
        gc.collect()
        return read(path)

    gc.collect()
    gc.freeze()  # so that a collection looks at what is new only
    logging.disable(logging.INFO)  # the tests' own log keeps the SDK's line of every request, which the app drops
    tracemalloc.start()
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(vault, "page", page)
            sweep.sweep(large.services)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)
        gc.unfreeze()


@pytest.mark.slow
def test_a_sweep_in_which_nothing_is_due_costs_one_request_for_25_certificates_and_no_more_memory(
    program: Program, azurite: Azurite
) -> None:
    large = LargeVault(program, azurite, "scaleidle")
    with large.client:
        large.seed(500, "first", age_days=10)
        sweep.sweep(large.services)  # clients and tables are made
        few = peak_of_a_sweep(large)
        large.seed(1_500, "more", age_days=10)
        large.requests()
        swept = sweep.sweep(large.later(2))
        assert (swept.looked_at, swept.started, swept.refused) == (2_000, [], [])
        assert large.requests() == {"GetCertificates": 80}
        swept = sweep.sweep(large.later(3))
        assert (swept.looked_at, swept.skipped, swept.states) == (0, [ALIAS], {("test-ca", "valid"): 2_000})
        assert large.requests() == {"GetCertificates": 1}, "a list of years rests; the vault is only checked"
        # What other threads of the process allocate meanwhile counts too, so a peak that is high once says nothing.
        many = [most := few + 1_500 * 400]  # a certificate that is kept takes more than 400 bytes
        while len(many) <= 10 and min(many) >= most:
            many.append(peak_of_a_sweep(large))
    assert min(many) < most, f"{few} bytes for 500 and {many[1:]} for 2,000"


@pytest.mark.slow
def test_of_200_that_are_due_a_sweep_takes_its_batch_and_the_next_one_goes_on(
    program: Program, azurite: Azurite
) -> None:
    large = LargeVault(program, azurite, "scaledue", batch=10)
    with large.client:
        large.seed(180, "late", age_days=300)
        large.seed(10, "sooner", age_days=310)
        large.seed(10, "a-soonest", age_days=320)
        started = [sweep.sweep(large.services).started for _ in range(3)]
    beginnings = [{name.rsplit("-", 1)[0] for name in one} for one in started]
    assert beginnings == [{f"{ALIAS}/a-soonest"}, {f"{ALIAS}/sooner"}, {f"{ALIAS}/late"}]
    assert [len(one) for one in started] == [10, 10, 10]
    assert len({name for one in started for name in one}) == 30
    assert sum(1 for _ in large.services.storage.worklist()) == 30


@pytest.mark.slow
def test_a_poll_costs_requests_for_open_operations_and_none_for_certificates(
    program: Program, azurite: Azurite
) -> None:
    large = LargeVault(program, azurite, "scalepoll")
    with large.client:
        large.seed(200, "idle", age_days=10)
        large.requests()
        assert sweep.advance_due(large.services) == 0
        assert large.requests() == {}
        large.seed(3, "due", age_days=300)
        assert len(sweep.sweep(large.services).started) == 3
        large.requests()
        assert sweep.advance_due(large.services) == 3
        asked = large.requests()
        assert asked["CreateCertificate"] == 3
        assert sum(asked.values()) <= 3 * 6, asked
        assert sweep.advance_due(large.services) == 0, "they wait for their authority"
        assert large.requests() == {}


@pytest.mark.slow
def test_names_that_cannot_be_renewed_do_not_starve_the_others_even_when_they_fill_a_batch(
    program: Program, azurite: Azurite
) -> None:
    large = LargeVault(program, azurite, "scalebad", batch=10)
    with large.client:
        large.seed(22, "good", age_days=300)
        large.seed(15, "bad", age_days=330, **{"certrelay-authority": "gone"})
        swept = [sweep.sweep(large.services) for _ in range(5)]
        assert digest.send_digest(large.services)["renewals_failing"] == 15
    assert sum(len(one.started) for one in swept) == 22
    refused = [text.split(":")[0] for one in swept for text in one.refused]
    assert len(refused) == len(set(refused)) == 15, "each is tried, then rests"


@pytest.mark.slow
def test_what_was_refused_is_tried_again_when_its_rest_is_over(program: Program, azurite: Azurite) -> None:
    large = LargeVault(program, azurite, "scaleagain")
    with large.client:
        large.seed(1, "bad", age_days=330, **{"certrelay-authority": "gone"})
        assert len(sweep.sweep(large.services).refused) == 1
        assert sweep.sweep(large.services).refused == []
        later = replace(large.services, now=lambda: datetime.fromtimestamp(datetime.now(UTC).timestamp() + 3601, UTC))
        assert len(sweep.sweep(later).refused) == 1


BAD_TAGS = [
    {"certrelay-renewal": f"days_before_expiry={10**30}"},
    {"certrelay-renewal": "days_before_expiry=²"},
    {"certrelay-renewal": "lifetime_percentage=" + "9" * 200},
    {"certrelay-validity-days": "²"},
    {"certrelay-validity-days": "9" * 200},
]


@pytest.mark.slow
def test_tags_that_nobody_can_read_stop_no_sweep(program: Program, azurite: Azurite) -> None:
    large = LargeVault(program, azurite, "scaletags")
    with large.client:
        for number, tags in enumerate(BAD_TAGS):
            large.seed(1, f"bad-{number}", age_days=330, **tags)
        large.seed(2, "good", age_days=300)
        swept = sweep.sweep(large.services)
    assert swept.looked_at == len(BAD_TAGS) + 2
    assert {f"{ALIAS}/good-00000", f"{ALIAS}/good-00001"} <= set(swept.started)


@pytest.mark.slow
def test_an_operation_is_looked_at_again_when_its_deadline_comes_not_an_hour_later(world: World) -> None:
    name = world.name()
    asked = CertificateSpec("test-ca", {"key_props": {"kty": "EC"}}, dns_names=(f"{name}.contoso.example",))
    create.create(world.services, ALIAS, name, asked, requested_by="test")
    world.ca.answers = [Unavailable("down")] * 100
    opened = world.services.storage.open(ALIAS, name)
    assert opened is not None
    while (operation := world.services.storage.open(ALIAS, name)) is not None:
        assert operation.next_attempt_at <= opened.deadline
        world.advance(name)
    ended = world.services.storage.ended(ALIAS, name)[0]
    assert ended.failure is not None
    assert ended.failure.code == "TimedOut"
