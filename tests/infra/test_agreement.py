"""The template and the app say the same: settings, storage, rights, schedules, events, versions."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from certrelay import schedules, settings
from certrelay.connectors.private_ca.settings import PrivateCaSettings
from certrelay.keyvault.client import Vault
from certrelay.renewal import events
from certrelay.setting_models import ROLES
from certrelay.storage import ledger
from handlers.functions import QUEUES
from tests.infra import key_vault_calls
from tests.infra.bicep import FILES, INFRA, body, keys, parsed, resources, texts, variable
from tests.world import World, made

ROOT = Path(__file__).parents[2]
SAMPLE = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
# Moved into functionAppConfig, or refused, on Flex Consumption; and what would hold a key.
FORBIDDEN = {
    "FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "AzureWebJobsStorage", "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING", "WEBSITE_CONTENTSHARE", "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "ENABLE_ORYX_BUILD", "WEBSITE_TIME_ZONE", "DEPLOYMENT_STORAGE_CONNECTION_STRING",
}  # fmt: skip
# What the host, the worker and Azure's SDKs read: infra/README.md and the sources that function-app.bicep follows.
PLATFORM = {
    *(f"AzureWebJobsStorage__{service}ServiceUri" for service in ("blob", "queue", "table")),
    "AzureWebJobsStorage__accountName", "AzureWebJobsStorage__credential", "AzureWebJobsStorage__clientId",
    "AzureWebJobsDisableHomepage", "AZURE_CLIENT_ID", "PYDANTIC_DISABLE_PLUGINS", "PYTHON_THREADPOOL_THREAD_COUNT",
    "APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
}  # fmt: skip


def template_settings() -> set[str]:
    """The names of the application settings that the template writes, those named by a deployer left out."""
    of_the_app = set(keys(body(parsed("function-app")["resources"]["settings"]["config"])["properties"]))
    of_main = set(keys(body(parsed("main")["modules"]["app"]["config"])["params"]["appSettings"]))
    return {name for name in of_the_app | of_main if re.match("[A-Z]{2}|AzureWebJobs", name)}


def test_every_setting_that_the_app_reads_is_written_by_the_template() -> None:
    written = template_settings()
    assert {name for name in written if name.startswith("CERTRELAY_")} == set(settings.NAMES)
    assert {name for name in written if not name.startswith("CERTRELAY_")} == PLATFORM
    assert not written & FORBIDDEN


def test_the_sample_settings_are_those_of_the_template_and_what_only_a_laptop_needs() -> None:
    only_local = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage"}
    of_deployers = set(re.findall(r"@([A-Z_]+)", json.dumps(SAMPLE)))
    assert SAMPLE.keys() - only_local - of_deployers <= template_settings()


def test_the_workflow_gives_the_template_every_parameter_that_an_environment_may_set() -> None:
    """What it leaves out goes back to its default at each deployment: without grants the roles reach everything."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())
    given = workflow["jobs"]["deploy"]["env"]
    asked = re.findall(r"\$\{(\w+)\}", (INFRA / "main.parameters.json").read_text())
    assert set(asked) <= given.keys()
    assert given == {name: f"${{{{ vars.{name} }}}}" for name in given}


def test_the_app_starts_with_what_the_template_writes_for_someone_who_chooses_nothing() -> None:
    main = parsed("main")["parameters"]
    environment = {
        "CERTRELAY_VAULTS": '{"main":{"url":"https://kv-cert-abc.vault.azure.net"}}',
        "CERTRELAY_AUTHORITIES": json.dumps(main["authorities"]["default"]),
        "CERTRELAY_NOTIFICATIONS": json.dumps(main["notifications"]["default"]),
        "CERTRELAY_POLL_SCHEDULE": main["pollSchedule"]["default"],
        "CERTRELAY_SWEEP_SCHEDULE": main["sweepSchedule"]["default"],
        "CERTRELAY_DIGEST_SCHEDULE": main["digestSchedule"]["default"],
        "CERTRELAY_RENEWAL_BATCH": str(main["renewalBatch"]["default"]),
        "CERTRELAY_FUNCTION_KEY_ROLE": main["functionKeyRole"]["default"],
        "CERTRELAY_APP_SERVICE_AUTHENTICATION": "false",
        "AzureWebJobsStorage__accountName": "certrelayabc",
        "AzureWebJobsStorage__tableServiceUri": "https://certrelayabc.table.core.windows.net/",
        "AzureWebJobsStorage__queueServiceUri": "https://certrelayabc.queue.core.windows.net/",
        "AzureWebJobsStorage__clientId": "6f1f3c1e-2b7a-4c55-9c2e-5d0c2a4b7e01",
    }
    loaded = settings.load(environment, with_schedules=True)
    assert list(loaded.vaults) == ["main"]
    assert loaded.app_service_authentication is False


def test_schedules_and_threads_are_the_same_everywhere() -> None:
    main = parsed("main")["parameters"]
    for name, example in schedules.SCHEDULES.items():
        parameter = f"{name.split('_')[1].lower()}Schedule"
        assert main[parameter]["default"] == example == SAMPLE[name]
    written = body(parsed("function-app")["resources"]["settings"]["config"])["properties"]
    assert SAMPLE["PYTHON_THREADPOOL_THREAD_COUNT"] in texts(written)
    assert (
        f"PYTHON_THREADPOOL_THREAD_COUNT: '{SAMPLE['PYTHON_THREADPOOL_THREAD_COUNT']}'"
        in (INFRA / "function-app.bicep").read_text()
    )


def test_the_roles_of_function_keys_are_those_of_the_app() -> None:
    [allowed] = [d for d in parsed("main")["parameters"]["functionKeyRole"]["decorators"] if d["type"] == "allowed"]
    assert tuple(allowed["argument"]) == ROLES


def test_every_table_queue_and_container_that_the_app_uses_exists() -> None:
    assert set(ledger.TABLES) <= set(variable("tables", "storage"))
    queues = set(variable("queues", "storage"))
    triggers = {queue for _, queue in QUEUES.values()}
    assert triggers | set(ledger.QUEUES) <= queues
    assert {f"{name}-poison" for name in triggers if not name.endswith("-poison")} <= queues
    fields = PrivateCaSettings.model_fields
    made = {*variable("containers", "storage"), *(one["name"] for _, one in resources(CONTAINERS))}
    assert {fields["records_container"].default, fields["crl_container"].default} <= made
    assert variable("packageContainer", "function-app") in made
    assert {"azure-webjobs-hosts", "azure-webjobs-secrets"} <= made  # of the host: its locks, its keys
    undelivered = {text for _, one in resources(SUBSCRIPTIONS) for text in texts(one) if text.endswith("dead-letters")}
    undelivered |= {body(parsed(file)["resources"]["deadLetters"]["config"])["name"] for file in ("storage", ACCESS)}
    assert undelivered == {"event-dead-letters"}
    assert undelivered <= made


CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
SUBSCRIPTIONS = "Microsoft.EventGrid/systemTopics/eventSubscriptions"
ACCESS = "dead-letter-access"


def test_only_records_that_are_written_once_are_immutable() -> None:
    policies = list(resources(f"{CONTAINERS}/immutabilityPolicies"))
    assert [(file, one["parent"]) for file, one in policies] == [("storage", "records")]


def granted(name: str) -> set[str]:
    return {action.removeprefix("Microsoft.KeyVault/vaults/") for action in variable(name, "roles")}


def test_the_custom_roles_are_exactly_what_the_code_calls_in_key_vault() -> None:
    called = key_vault_calls.called()
    assert {action for action in called if action.startswith("certificate")} == granted("certificateActions")
    assert {action for action in called if action.startswith("keys")} == granted("keyActions")
    assert not [action for action in called if "secret" in action.lower() or "purge" in action]


def test_the_custom_roles_grant_nothing_besides() -> None:
    permissions = [one["properties"]["permissions"] for _, one in resources("Microsoft.Authorization/roleDefinitions")]
    assert permissions == [
        [{"actions": [], "notActions": [], "dataActions": name, "notDataActions": []}]
        for name in ("certificateActions", "keyActions")
    ]


def test_each_role_is_assigned_on_the_vaults_that_it_is_for_and_no_secret_is_read_beside_certificates() -> None:
    modules = parsed("main")["modules"]
    given = {
        name: (body(module["config"])["params"]["roleName"], str(body(module["config"])["params"]["vaultName"]))
        for name, module in modules.items()
        if module["detail"]["path"] == "vault-access.bicep"
    }
    assert given.pop("existingVaultAccess")[0] == "roleForCertificates"
    assert given == {
        "newVaultAccess": ("roleForCertificates", "newVaultName"),
        "appVaultAccess": ("roleForKeys", "appVaultName"),
        "appVaultSecrets": ("secretsUser", "appVaultName"),
    }


def test_what_the_search_for_calls_cannot_see_would_be_noticed() -> None:
    """Every method of the client that sends a request was found in the code."""
    found = {route for route in key_vault_calls.requests() if route[1].startswith("/certificates")}
    for method in ("create", "pending", "cancel", "delete_pending", "merge", "import_certificate", "get"):
        assert hasattr(Vault, method)
    assert {("POST", "/certificates/x/pending/merge"), ("PATCH", "/certificates/x/policy")} <= found
    assert {("PUT", "/certificates/contacts"), ("DELETE", "/certificates/issuers/x")} <= found


def test_what_the_vault_sees_in_a_life_of_a_certificate_is_in_the_custom_role(world: World) -> None:
    before = Counter(world.server.requests.counts())
    made(world, "in-role")
    seen = (Counter(world.server.requests.counts()) - before).keys() - {"Challenge"}
    assert {"CreateCertificate", "MergeCertificate"} <= seen
    assert {key_vault_calls.action_of_operation(one) for one in seen} <= granted("certificateActions")


def test_event_types_are_those_that_the_app_handles() -> None:
    chosen = set(variable("eventTypes", "event-subscription"))
    new_version = "Microsoft.KeyVault.CertificateNewVersionCreated"  # the doctor sees by it that events come at all
    assert chosen == {events.NEAR_EXPIRY, events.EXPIRED, new_version}
    [(_, subscription)] = resources(SUBSCRIPTIONS)
    assert subscription["properties"]["eventDeliverySchema"] == "EventGridSchema"
    function = re.search(r"functions/(\w+)'", (INFRA / "events.bicep").read_text())
    assert function is not None
    assert f"def {function[1]}(event: func.EventGridEvent)" in (ROOT / "handlers" / "events.py").read_text()


def test_the_python_version_is_the_same_everywhere() -> None:
    [(_, site)] = resources("Microsoft.Web/sites")
    runtime = site["properties"]["functionAppConfig"]["runtime"]
    version = (ROOT / ".python-version").read_text().strip()
    assert runtime == {"name": "python", "version": version}
    assert f'python-version = "{version}"' in (ROOT / "pyproject.toml").read_text()


def test_no_shared_key_is_accepted_and_nothing_is_published_with_a_password() -> None:
    [(_, account)] = resources("Microsoft.Storage/storageAccounts")
    assert account["properties"]["allowSharedKeyAccess"] is False
    assert account["properties"]["allowBlobPublicAccess"] is False
    policies = [one for _, one in resources("Microsoft.Web/sites/basicPublishingCredentialsPolicies")]
    assert {(one["name"], one["properties"]["allow"]) for one in policies} == {("ftp", False), ("scm", False)}
    [(_, component)] = resources("Microsoft.Insights/components")
    [(_, workspace)] = resources("Microsoft.OperationalInsights/workspaces")
    assert component["properties"]["DisableLocalAuth"] is True
    assert workspace["properties"]["features"]["disableLocalAuth"] is True


def test_sign_in_and_the_app_s_own_switch_follow_from_one_parameter_and_let_event_grid_in() -> None:
    text = (INFRA / "function-app.bicep").read_text()
    assert "CERTRELAY_APP_SERVICE_AUTHENTICATION: signIn ? 'true' : 'false'" in text
    assert "'/runtime/webhooks/*'" in text
    assert "@docs/app-roles.json" in (INFRA / "entra.sh").read_text()


def test_metrics_are_exported_by_a_package_that_is_deployed_and_by_the_host_alike() -> None:
    assert "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY" in template_settings()
    assert re.search(r"^azure-monitor-opentelemetry==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert json.loads((ROOT / "host.json").read_text())["telemetryMode"] == "OpenTelemetry"


def test_alerts_ask_for_functions_that_exist() -> None:
    text = (INFRA / "alerts.bicep").read_text()
    handlers = "".join(path.read_text() for path in (ROOT / "handlers").glob("*.py"))
    functions = set(re.findall(r"(?:Name == \\'|Functions\.)([a-z_]+)(?!\.)\\'", text))
    assert {"poll_operations", "sweep_certificates", "fail_operation"} <= functions
    for function in functions:
        assert f"def {function}(" in handlers, function
    assert len(variable("rules", "alerts")) == 9


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_output_is_a_secret(file: Path) -> None:
    for name, output in (parsed(file.stem).get("outputs") or {}).items():
        assert not re.search(
            "key|secret|password|connection", f"{name} {output['value']}".replace("keyvault", ""), re.IGNORECASE
        ) or ("VAULT" in name), name


def test_what_could_hold_a_secret_by_mistake_is_in_no_history_of_deployments() -> None:
    """Secrets belong into Key Vault, and the app refuses one in its settings; but by then the deployment has it."""
    for file, names in {"main": ("authorities", "notifications"), "function-app": ("appSettings",)}.items():
        for name in names:
            kind = parsed(file)["types"][parsed(file)["parameters"][name]["type"]]
            assert {"type": "secure"} in kind["decorators"], name
