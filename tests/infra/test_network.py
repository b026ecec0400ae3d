"""Private endpoints: each has its records in a DNS zone, one that exists already or one that is made."""

from tests.infra.bicep import body, keys, parsed, resources, texts, variable

SERVICES = {"blob", "queue", "table", "vault"}


def params(module: str, of: str) -> dict[str, object]:
    return dict[str, object](body(parsed(of)["modules"][module]["config"])["params"])


def test_every_service_has_a_zone_and_an_endpoint() -> None:
    assert variable("zoneNames", "network").keys() == SERVICES
    assert set(variable("storageServices", "network")) | {"vault"} == SERVICES
    assert {"storageEndpoints", "vaultEndpoints"} <= parsed("network")["modules"].keys()


def test_zones_that_exist_already_are_used_and_linked_and_the_others_made() -> None:
    given = parsed("main")["parameters"]["privateDnsZones"]
    assert given["default"] == {}
    assert params("network", "main")["existingZones"] == "privateDnsZones"
    assert "existingZones" in set(texts(variable("newZones", "network")))
    merged = variable("zoneIds", "network")["function"]
    assert merged["type"] == "union"
    assert set(keys(merged)) >= SERVICES
    for module in ("storageEndpoints", "vaultEndpoints"):
        assert "zoneIds" in set(texts([params(module, "network")["zoneId"]])), module
    [(_, zone)] = resources("Microsoft.Network/privateDnsZones")
    assert zone["location"] == "global"
