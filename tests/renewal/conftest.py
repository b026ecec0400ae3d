"""A sweep of vaults whose lists are in memory."""

import pytest

from certrelay.renewal import alerts, renew, sweep
from tests.renewal.fleet import Fleet, Run


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(fleet: Fleet) -> sweep.Swept:
        monkeypatch.setattr(renew, "renew_if_due", fleet.start)
        monkeypatch.setattr(alerts, "send", lambda _services, _alias, _item, record: record)
        return sweep.sweep(fleet.services())

    return run
