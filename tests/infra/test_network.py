"""Private endpoints: each has its records in a DNS zone, one that exists already or one that is made."""

from typing import Any

from tests.infra.bicep import body, keys, parsed, texts, variable

SERVICES = {"blob", "queue", "table", "vault"}


def params(module: str, of: str) -> dict[str, Any]:
    return dict[str, Any](body(parsed(of)["modules"][module]["config"])["params"])


def test_every_service_has_a_zone_and_an_endpoint() -> None:
    assert variable("zoneNames", "network").keys() == SERVICES
    assert set(variable("storageServices", "network")) | {"vault"} == SERVICES
    assert {"storageEndpoints", "vaultEndpoints"} <= parsed("network")["modules"].keys()


def test_zones_that_exist_already_are_used_and_linked_and_the_others_made() -> None:
    assert parsed("main")["parameters"]["privateDnsZones"]["default"] == {}
    assert params("network", "main")["existingZones"] == "privateDnsZones"
    merged = variable("zoneIds", "network")["function"]
    assert merged["type"] == "union"
    assert set(keys(merged)) >= SERVICES
    for module in ("storageEndpoints", "vaultEndpoints"):
        assert "zoneIds" in set(texts(params(module, "network")["zoneId"])), module
    exists = params("zones", "network")["zoneExists"]["function"]
    assert exists["type"] == "contains"
    assert exists["parameters"]["container"] == "existingZones"
    made = parsed("dns-zone")["resources"]["newZone"]["config"]["condition"]
    assert made == {"operator": {"type": "not", "operands": {"bool_value": "zoneExists"}}}
