"""azd's hooks, run with an `az` that only notes what it is asked: which commands they give, in which cases, and twice.

What Azure answers is not tried here; infra/README.md lists what only Azure can show."""

import json
import re
from pathlib import Path

import pytest

from tests.infra.azure_cli import VAULT, Azure


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    return Azure(tmp_path)


def test_the_events_are_connected_after_the_code_and_again_without_a_difference(azure: Azure) -> None:
    first = azure.run("postdeploy.sh")
    assert first.returncode == 0, first.stderr
    once, parameters = azure.calls, azure.parameters
    assert azure.run("postdeploy.sh").returncode == 0
    assert azure.calls == once * 2
    assert azure.parameters == parameters
    assert parameters["vaultIds"] == VAULT
    assert parameters["existingTopics"] == {}
    assert parameters["eventsIdentityId"] == ""
    order = [line.split(" --")[0] for line in once]
    assert order.index("functionapp function show") < order.index("deployment sub create")


def test_the_key_of_the_readiness_check_is_in_no_command_line(azure: Azure) -> None:
    assert azure.run("postdeploy.sh").returncode == 0
    asked = (azure.home / "curl-calls").read_text()
    assert "/api/health/ready" in asked
    assert "the-key" not in asked


def test_with_sign_in_only_the_open_route_is_asked(azure: Azure) -> None:
    assert azure.run("postdeploy.sh", AUTHENTICATION_CLIENT_ID="c-1").returncode == 0
    assert "certrelay-abc.example/api/health\n" in (azure.home / "curl-calls").read_text()
    assert not [line for line in azure.calls if "keys list" in line]


def test_settings_with_a_key_that_came_back_are_deleted(azure: Azure) -> None:
    azure.answers["functionapp config appsettings list"] = "AzureWebJobsStorage"
    assert azure.run("postdeploy.sh").returncode == 0
    assert [line for line in azure.calls if "appsettings delete" in line and "AzureWebJobsStorage" in line]


def topic(source: str, name: str, group: str, identity: str) -> str:
    return f"{source}\t{name}\t{group}\t{identity}"


def test_a_topic_of_somebody_else_is_used_as_it_is(azure: Azure) -> None:
    azure.answers["eventgrid system-topic list"] = "\n".join((
        topic(VAULT.replace("Contoso", "other"), "others", "rg-vaults", "None"),
        topic(VAULT.upper(), "theirs", "RG-Vaults", "SystemAssigned, UserAssigned"),
    ))  # fmt: skip
    assert azure.run("postdeploy.sh").returncode == 0
    assert azure.parameters["existingTopics"] == {VAULT.lower(): "theirs"}


def test_our_own_topic_is_not_taken_for_somebody_elses(azure: Azure) -> None:
    azure.answers["eventgrid system-topic list"] = topic(VAULT, "Contoso-events", "rg-vaults", "UserAssigned")
    assert azure.run("postdeploy.sh").returncode == 0
    assert azure.parameters["existingTopics"] == {}


@pytest.mark.parametrize(
    ("group", "identity", "says"),
    [("rg-vaults", "None", "--identity SystemAssigned"), ("rg-else", "SystemAssigned", "it must be in rg-vaults")],
)
def test_a_topic_that_cannot_be_used_is_named_with_what_to_do(
    azure: Azure, group: str, identity: str, says: str
) -> None:
    azure.answers["eventgrid system-topic list"] = topic(VAULT, "theirs", group, identity)
    done = azure.run("postdeploy.sh")
    assert done.returncode == 1
    assert says in done.stderr
    assert not [line for line in azure.calls if "deployment" in line]


def test_by_hand_without_the_environment_the_hook_says_what_is_missing(azure: Azure) -> None:
    done = azure.run("postdeploy.sh", CERTRELAY_APP_ID="")
    assert done.returncode == 1
    assert "CERTRELAY_APP_ID is not set" in done.stderr


@pytest.mark.parametrize("value", ["", "false", "null"])
def test_a_vault_on_access_policies_is_refused_before_anything_is_made(azure: Azure, value: str) -> None:
    azure.answers["resource show"] = value
    done = azure.run("preprovision.sh", EXISTING_VAULTS=json.dumps({"main": VAULT}))
    assert done.returncode == 1
    assert f"{VAULT} uses access policies" in done.stderr


def test_every_existing_vault_is_looked_at(azure: Azure) -> None:
    azure.answers["resource show"] = "true"
    vaults = {"main": VAULT, "second": VAULT.replace("Contoso", "second")}
    for written in (json.dumps(vaults), json.dumps(vaults, separators=(",", ":")), json.dumps(vaults, indent=2)):
        (azure.home / "calls").unlink(missing_ok=True)
        assert azure.run("preprovision.sh", EXISTING_VAULTS=written).returncode == 0
        looked = [line for line in azure.calls if line.startswith("resource show")]
        assert [line.split()[3] for line in looked] == list(vaults.values())


ZONES = {
    service: f"/subscriptions/hub/resourceGroups/rg-dns/providers/Microsoft.Network/privateDnsZones/privatelink.{name}"
    for service, name in {"blob": "blob.core.windows.net", "vault": "vaultcore.azure.net"}.items()
}


def test_every_dns_zone_that_exists_already_is_looked_at(azure: Azure) -> None:
    for written in (json.dumps(ZONES), json.dumps(ZONES, separators=(",", ":")), json.dumps(ZONES, indent=2)):
        (azure.home / "calls").unlink(missing_ok=True)
        assert azure.run("preprovision.sh", PRIVATE_DNS_ZONES=written).returncode == 0
        looked = [line for line in azure.calls if line.startswith("resource show")]
        assert [line.split()[3] for line in looked] == list(ZONES.values())


@pytest.mark.parametrize(
    ("zones", "says"),
    [
        ({"keyvault": ZONES["vault"]}, "keyvault is none of blob, queue, table, vault"),
        ({"blob": ZONES["blob"], "queue": ZONES["vault"]}, "is not the zone for queue"),
        ({"vault": ZONES["vault"].replace("vaultcore", "vault")}, "begins with privatelink.vaultcore."),
    ],
)
def test_a_dns_zone_that_cannot_be_used_is_refused_before_anything_is_made(
    azure: Azure, zones: dict[str, str], says: str
) -> None:
    done = azure.run("preprovision.sh", PRIVATE_DNS_ZONES=json.dumps(zones))
    assert done.returncode == 1
    assert says in done.stderr


def test_a_dns_zone_that_is_not_there_is_named(azure: Azure) -> None:
    azure.failing = ("resource show",)
    done = azure.run("preprovision.sh", PRIVATE_DNS_ZONES=json.dumps(ZONES))
    assert done.returncode == 1
    assert f"there is no DNS zone {ZONES['blob']}" in done.stderr


def test_the_links_to_other_peoples_dns_zones_are_removed(azure: Azure) -> None:
    assert azure.run("predown.sh", PRIVATE_DNS_ZONES=json.dumps(ZONES)).returncode == 0
    removed = [line for line in azure.calls if line.startswith("network private-dns link vnet delete")]
    assert [re.findall(r"--zone-name (\S+) --name (\S+)", line)[0] for line in removed] == [
        (zone.rpartition("/")[2], "certrelay-net-abc") for zone in ZONES.values()
    ]
    assert all("--subscription hub --resource-group rg-dns" in line for line in removed)


def test_without_existing_vaults_only_the_providers_are_looked_at(azure: Azure) -> None:
    azure.answers["provider show --namespace Microsoft.EventGrid"] = "NotRegistered"
    azure.answers = dict(sorted(azure.answers.items(), key=lambda item: -len(item[0])))
    assert azure.run("preprovision.sh").returncode == 0
    assert [line.split()[3] for line in azure.calls if line.startswith("provider register")] == ["Microsoft.EventGrid"]
    assert not [line for line in azure.calls if "Microsoft.App" in line]


def test_what_lies_in_other_resource_groups_is_removed_and_other_peoples_topics_stay(azure: Azure) -> None:
    elsewhere = VAULT.replace("rg-vaults", "rg-else").replace("Contoso", "notcontoso")
    azure.answers["eventgrid system-topic list"] = "\n".join(
        (f"{VAULT.upper()}\tcontoso-events", f"{VAULT}\ttheirs", f"{elsewhere}\tContoso-events")
    )
    azure.answers["identity show"] = "principal-1"
    done = azure.run("predown.sh")
    assert done.returncode == 0, done.stderr
    deleted = [line for line in azure.calls if " delete " in line]
    topics = [line for line in deleted if line.startswith("eventgrid system-topic delete")]
    assert len(topics) == 1
    assert "--name contoso-events" in topics[0], "Azure writes names as somebody has written them once"
    assert len([line for line in deleted if "event-subscription" in line]) == 2
    assert f"role assignment delete --assignee principal-1 --scope {VAULT}" in deleted
    assert len([line for line in deleted if line.startswith("role definition delete")]) == 2


def test_a_vault_in_the_resource_group_of_the_app_goes_with_it(azure: Azure) -> None:
    for name in ("rg-vaults", "RG-Vaults"):
        assert azure.run("predown.sh", AZURE_RESOURCE_GROUP=name).returncode == 0
        assert not [line for line in azure.calls if line.startswith("eventgrid")]


def test_a_group_of_another_subscription_is_another_one_although_it_has_the_same_name(azure: Azure) -> None:
    there = VAULT.replace("s-1", "s-2")
    azure.answers["eventgrid system-topic list"] = f"{there}\tContoso-events"
    azure.answers["identity show"] = "principal-1"
    assert azure.run("predown.sh", AZURE_RESOURCE_GROUP="rg-vaults", CERTRELAY_VAULT_IDS=there).returncode == 0
    assert f"role assignment delete --assignee principal-1 --scope {there}" in azure.calls
    assert [line for line in azure.calls if line.startswith("eventgrid system-topic delete --subscription s-2")]


def test_rights_are_removed_although_the_topics_cannot_be_read(azure: Azure) -> None:
    """The resource group of a vault is gone, say. The next vaults must not keep the app's rights for that."""
    azure.failing = ("eventgrid system-topic list",)
    azure.answers["identity show"] = "principal-1"
    done = azure.run("predown.sh")
    assert done.returncode == 0, done.stderr
    assert "the topics in rg-vaults cannot be read" in done.stderr
    assert f"role assignment delete --assignee principal-1 --scope {VAULT}" in azure.calls


def test_our_own_topic_is_known_however_its_vault_is_written(azure: Azure) -> None:
    azure.answers["eventgrid system-topic list"] = topic(VAULT.lower(), "contoso-events", "RG-VAULTS", "None")
    done = azure.run("postdeploy.sh")
    assert done.returncode == 0, done.stderr
    assert azure.parameters["existingTopics"] == {}
