"""What connectors remember of their authorities, in the storage account."""

import uuid
from datetime import UTC, datetime

import pytest

from certrelay import services, settings
from certrelay.storage.ledger import Ledger
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite

pytestmark = pytest.mark.slow


def test_each_authority_has_a_memory_of_its_own_that_outlives_the_process(azurite: Azurite) -> None:
    prefix = "t" + uuid.uuid4().hex[:10]

    def ledger() -> Ledger:
        return Ledger(Account({"AzureWebJobsStorage": azurite.connection_string}, None), prefix)

    one, other = ledger().memory_of("letsencrypt"), ledger().memory_of("zerossl")
    assert one.get("contact", "") == ""
    one["contact"] = "digest"
    one["contact"] = "another"
    assert ledger().memory_of("letsencrypt").get("contact", "") == "another"
    assert other.get("contact", "none") == "none"


def test_a_connector_gets_the_memory_of_its_authority(azurite: Azurite) -> None:
    name = "a" + uuid.uuid4().hex[:10]
    found = settings.load(
        {
            "AzureWebJobsStorage": azurite.connection_string,
            "CERTRELAY_VAULTS": '{"main": {"url": "https://main.vault.azure.net"}}',
            "CERTRELAY_AUTHORITIES": f'{{"{name}": {{"connector": "tests.world:TestCa"}}}}',
        }
    )
    connected = services.connect(found, lambda: datetime.now(UTC))
    connected.storage.memory_of(name)["x"] = "y"
    assert connected.storage.memory_of(name).get("x", "") == "y"
    assert connected.connector(name).context.memory.get("x", "") == "y"  # type: ignore[attr-defined]
