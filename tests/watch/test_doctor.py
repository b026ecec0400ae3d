"""The doctor names what is wrong, and the command that mends it; it changes nothing and shows no secret."""

import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import ConnectorError, Context
from certrelay.keyvault import tags
from certrelay.keyvault.refusals import DATA_ACTIONS
from certrelay.services import Services
from certrelay.watch import doctor, timers
from certrelay.watch.doctor import Finding
from sandbox.identity import SYSTEM_ASSIGNED, object_id
from tests.infra.bicep import parsed, variable
from tests.notifications.receiver import listening
from tests.world import ALIAS, KEY, World, made

pytestmark = pytest.mark.slow


def examined(services: Services) -> dict[str, Finding]:
    return {finding.what: finding for finding in doctor.examine(services)}


def wrong(services: Services) -> list[str]:
    return sorted(what for what, finding in examined(services).items() if not finding.ok)


@pytest.fixture
def well(lonely_world: World, receiver: Any) -> World:
    """A deployment of which nothing is wrong."""
    world = listening(lonely_world, receiver[0])
    timers.sweep(world.services)
    timers.poll(world.services)
    assert wrong(world.services) == []
    return world


def test_a_deployment_that_is_well_shows_its_settings_and_no_secret(well: World) -> None:
    found = examined(well.services)
    assert f"{ALIAS} = https://" in found["settings: vaults"].detail
    assert "test-ca" in found["settings: authorities"].detail
    assert "CERTRELAY_SWEEP_SCHEDULE = 0 7 * * * *" in found["settings: schedules"].detail
    assert found["notifications"].detail == "ops (webhook)"
    shown = repr(found)
    assert "canary-key" not in shown
    assert well.services.settings.notifications["ops"].url.get_secret_value() not in shown
    assert all(not finding.mend for finding in found.values())


def test_the_settings_are_shown_as_the_app_understood_them(well: World) -> None:
    known = well.services.settings
    vault = known.vaults[ALIAS].model_copy(
        update={"authorities": ("test-ca", "Self"), "concurrency": 7, "client_id": "id-of-the-app"}
    )
    authority = replace(
        known.authorities["test-ca"],
        settings=known.authorities["test-ca"].settings.model_copy(update={"deadline_hours": 5.0}),
    )
    changed = replace(known, vaults={ALIAS: vault}, authorities={"test-ca": authority}, renewal_batch=40)
    found = {one.what: one.detail for one in doctor._settings(replace(well.services, settings=changed))}
    assert '"authorities": ["test-ca", "Self"]' in found["settings: vaults"]
    assert '"concurrency": 7' in found["settings: vaults"]
    assert '"deadline_hours": 5.0' in found["settings: authorities"]
    assert found["settings: renewals"] == "40 at most in one sweep"
    assert "roles decide" in found["settings: callers"]
    assert "id-of-the-app" not in repr(found)


def test_each_missing_right_is_named_with_the_command_that_grants_it(well: World) -> None:
    name = well.name()
    made(well, name)
    before = well.versions(name)
    well.server.identities.permissions[SYSTEM_ASSIGNED] = {"certificates": ["list", "get", "import"]}
    found = examined(well.services)
    missing = {what.rsplit("vaults/", 1)[1]: one for what, one in found.items() if "vaults/" in what and not one.ok}
    assert sorted(missing) == [
        "certificatecas/delete",
        "certificatecas/read",
        "certificatecas/write",
        "certificatecontacts/write",
        "certificates/create/action",
        "certificates/delete",
        "certificates/recover/action",
        "certificates/update/action",
    ]
    for finding in missing.values():
        assert finding.mend.startswith('az role assignment create --role "Key Vault Certificates Officer"')
    assert object_id(SYSTEM_ASSIGNED) not in repr(found)
    well.server.identities.permissions[SYSTEM_ASSIGNED] = None
    assert wrong(well.services) == []
    assert well.versions(name) == before
    assert [item.name for page in well.vault.certificates() for item in page] == [name], "it has made nothing"


def test_a_policy_that_key_vault_would_renew_by_itself_is_named(well: World) -> None:
    name = well.name()
    renews = [{"trigger": {"days_before_expiry": 20}, "action": {"action_type": "AutoRenew"}}]
    made(well, name, authority=None, policy={**KEY, "lifetime_actions": renews}, tags={})
    assert wrong(well.services) == [], "nobody else renews it"
    well.vault.call("PATCH", f"/certificates/{name}", {"tags": tags.managed_tags("test-ca", 90, None)})
    assert wrong(well.services) == [f"policies of vault {ALIAS}"]
    finding = examined(well.services)[f"policies of vault {ALIAS}"]
    assert name in finding.detail
    assert "policy" in finding.mend


def test_timers_clock_events_poison_and_receivers_are_looked_at(well: World) -> None:
    made(well, well.name())
    well.clock.advance(3 * 3600)
    assert {"timer poll", "timer sweep", "event subscription"} <= set(wrong(well.services))
    assert "only the sweep renews now" in examined(well.services)["event subscription"].detail
    well.services.storage.watch.note("run", "event", well.services.now())
    well.services.storage.watch.merge("poison", "0" * 32, {"queue": "signing", "at": well.services.now().isoformat()})
    late = replace(well.services, now=lambda: well.services.now() + timedelta(hours=1))
    nobody = replace(late, settings=replace(late.settings, notifications={}))
    assert wrong(nobody) == ["clock", "notifications", "poison queues", "timer poll", "timer sweep"]
    for what in wrong(nobody):
        assert examined(nobody)[what].mend, what


def test_commands_are_whole_and_take_the_names_that_azd_knows(well: World) -> None:
    """`eval "$(azd env get-values)"` gives them their variables; docs/operations.md says so."""
    known = set(parsed("main")["outputs"]) | {"AZURE_ENV_NAME"}
    well.server.identities.permissions[SYSTEM_ASSIGNED] = {"certificates": []}
    well.clock.advance(3 * 3600)
    late = replace(well.services, now=lambda: well.services.now() + timedelta(hours=1))
    commands = {finding.mend for finding in examined(late).values() if "az " in finding.mend or "azd " in finding.mend}
    assert len(commands) >= 3
    for command in commands:
        assert "…" not in command
        assert set(re.findall(r"\$([A-Z_]+)", command)) <= known, command
        subprocess.run(["sh", "-n", "-c", command.partition("; ")[2] or command], check=True)


def test_a_right_that_a_custom_role_grants_is_looked_for(well: World) -> None:
    looked_for = {f"{DATA_ACTIONS}{action}" for action, *_ in doctor._PROBES}
    assert looked_for == set(variable("certificateActions", "roles"))


def test_an_authority_that_refuses_or_whose_zone_is_missing_is_named(well: World) -> None:
    made(well, well.name())

    class Checked:
        def check(self) -> None:
            raise ConnectorError("the account key is not known there")

        def check_names(self, names: list[str]) -> dict[str, str]:
            return dict.fromkeys(names, "no zone was found")

    services = replace(well.services, connector=lambda _: Checked())  # type: ignore[arg-type,return-value]
    dns = f"DNS of {well.name()}.contoso.example at test-ca"
    assert wrong(services) == [dns, "authority test-ca"]
    assert examined(services)["authority test-ca"].detail == "the account key is not known there"
    assert "_acme-challenge" in examined(services)[dns].mend
    known = services.settings.authorities["test-ca"]
    first = replace(known, settings=known.settings.model_copy(update={"fallback": ("second",)}))
    both = replace(services.settings, authorities={"test-ca": first, "second": replace(known, name="second")})
    assert f"DNS of {well.name()}.contoso.example at second" in wrong(replace(services, settings=both)), "a fall-back"


def test_a_crash_of_one_check_is_a_finding_without_its_text(well: World) -> None:
    def broken(_: str) -> Any:
        raise ZeroDivisionError("canary-secret")

    found = examined(replace(well.services, connector=broken))
    assert found["authority test-ca"].detail == "failed (ZeroDivisionError)"
    assert "canary" not in repr(found)


def test_acme_says_why_a_name_has_no_zone() -> None:
    settings = AcmeSettings.model_validate(
        {
            "url": "https://ca.example.com/directory",
            "account_key_vault_url": "https://contoso.vault.azure.net",
            "account_key_name": "acme",
            "dns": {
                "provider": "azure", "subscription_id": "0" * 8 + "-0000-0000-0000-" + "0" * 12,
                "resource_group": "dns", "resolvers": ["127.0.0.1:1"],
            },
        }
    )  # fmt: skip
    context = Context("acme", lambda: None, lambda: None)  # type: ignore[arg-type,return-value]
    found = Acme(settings, context).check_names(["*.www.contoso.example"])
    assert list(found) == ["*.www.contoso.example"]
    assert "_acme-challenge.www.contoso.example" in found["*.www.contoso.example"]
