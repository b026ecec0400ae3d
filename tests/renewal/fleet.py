"""Vaults whose lists are in memory, and whose renewals are a word: for tests of what a sweep reads and starts."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from certrelay.keyvault.certificate import CERTIFICATES, CertificateItem, items_of
from certrelay.renewal.sweep import Swept
from certrelay.services import Services
from certrelay.setting_models import Settings, VaultSettings
from certrelay.storage.ledger import OpenOperation
from certrelay.storage.renewal_record import RenewalRecord
from certrelay.storage.renewals import ListState
from tests.renewal.memory import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Fleet:
    """Vaults with certificates of 90 days: name and days left. `answers`: what starting a renewal raises, by name."""

    vaults: Mapping[str, Mapping[str, float]]
    batch: int = 10
    answers: dict[str, Exception] = field(default_factory=dict)
    records: dict[str, RenewalRecord] = field(default_factory=dict)
    worklist: list[OpenOperation] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    passes: timedelta = timedelta(0)  # with each start, and each page of a list
    lifetimes: dict[str, int] = field(default_factory=dict)  # days, if not 90
    pages: int = 1
    seed: int = 7
    positions: dict[str, ListState] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=lambda: {"certrelay-authority": "corp"})
    asked: list[list[str]] = field(default_factory=list)  # the names whose records were read, by request

    def page(self, alias: str, path: str) -> tuple[list[dict[str, Any]], str]:
        self.events.append(f"list {alias} {path}")
        self.now += self.passes if self.pages > 1 else timedelta(0)
        if isinstance(error := self.answers.get(f"{alias} {path}", self.answers.get(alias)), Exception):
            raise error
        dates = {name: NOW + left * DAY for name, left in self.vaults[alias].items()}
        items = [
            {
                "id": f"https://x/certificates/{name}", "tags": self.tags,
                "attributes": {"nbf": (ends - self.lifetimes.get(name, 90) * DAY).timestamp(), "exp": ends.timestamp()},
            }
            for name, ends in dates.items()
        ]  # fmt: skip
        number = int(path.rpartition("|")[2]) if "|" in path else 1
        return items, "" if number == self.pages else f"{CERTIFICATES}|{number + 1}"

    def certificates(self, alias: str) -> Iterator[list[CertificateItem]]:
        path = CERTIFICATES
        while path:
            page, path = self.page(alias, path)
            yield items_of(page)

    def known(self, _vault: str, names: list[str]) -> dict[str, RenewalRecord]:
        self.asked += [names] if names else []
        return {name: self.records[name] for name in names if name in self.records}

    def save(self, record: RenewalRecord, _known: RenewalRecord) -> None:
        self.records[record.name] = record

    def start(self, _services: Services, vault: str, name: str, origin: Any) -> None:
        self.events.append(f"{vault}/{name}")
        assert origin.requested_by == "sweep"
        self.now += self.passes
        if name in self.answers:
            raise self.answers[name]

    @property
    def started(self) -> list[str]:
        return [event for event in self.events if "/" in event and " " not in event]

    def services(self) -> Services:
        self.now = NOW
        known = {alias: VaultSettings(url="https://contoso.vault.azure.net") for alias in self.vaults}
        settings = Settings(known, {}, {}, {}, self.batch, False, "Administrator")
        renewals = SimpleNamespace(
            records=self.known,
            save=self.save,
            list_state=lambda alias: self.positions.get(alias, ListState()),
            save_list_state=self.positions.__setitem__,
        )
        storage: Any = SimpleNamespace(
            renewals=renewals, worklist=lambda *_: self.worklist, watch=SimpleNamespace(rows=lambda _: {})
        )
        unused: Any = None

        def vault(alias: str) -> Any:
            return SimpleNamespace(
                page=lambda path: self.page(alias, path), certificates=lambda: self.certificates(alias), date=None
            )

        return Services(settings, storage, vault, unused, lambda: self.now, random.Random(self.seed))


type Run = Callable[[Fleet], Swept]
