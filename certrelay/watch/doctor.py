"""The doctor: what is wrong with a deployment, and the command that mends it. It changes nothing.

Each vault's rights are tried with requests that cannot change anything: they read, or name a certificate or an issuer
that does not exist, and Key Vault checks the caller's rights first.
"""

import functools
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from certrelay.connectors.base import ChecksHealth, ChecksNames, ConnectorError
from certrelay.errors import CertRelayError, NotReady, VaultForbidden
from certrelay.keyvault.refusals import DATA_ACTIONS, ROLE
from certrelay.keyvault.tags import is_managed
from certrelay.operations import listing
from certrelay.operations.listing import Filters
from certrelay.renewal.alerts import renewed_by_key_vault
from certrelay.services import Services
from certrelay.setting_models import ALL_BUT_COMPLETED
from certrelay.storage.watch import time_of
from certrelay.watch import status

MAX_POLICIES, MAX_NAMES, POLICY_SECONDS = 100, 50, 20
MAX_CLOCK_ERROR = timedelta(minutes=5)
EVENT_DELAY = timedelta(hours=1)
_PROBES: tuple[tuple[str, str, str, dict[str, Any] | None], ...] = (  # data action, method, path, body
    ("certificates/read", "GET", "/certificates?maxresults=1", None),
    ("certificates/create/action", "POST", "/certificates/{}/pending/merge", {"x5c": []}),
    ("certificates/import/action", "POST", "/certificates/{}/import", {"value": ""}),
    ("certificates/update/action", "PATCH", "/certificates/{}", {}),
    ("certificates/delete", "DELETE", "/certificates/{}", None),
    ("certificates/recover/action", "POST", "/deletedcertificates/{}/recover", {}),
    ("certificatecas/read", "GET", "/certificates/issuers?maxresults=1", None),
    ("certificatecas/write", "PATCH", "/certificates/issuers/{}", {}),
    ("certificatecas/delete", "DELETE", "/certificates/issuers/{}", None),
    ("certificatecontacts/write", "GET", "/certificates/contacts", None),
)
# The variables of the commands: eval "$(azd env get-values)"
RESTART = 'az functionapp restart --resource-group "$AZURE_RESOURCE_GROUP" --name "$CERTRELAY_APP_NAME"'
PRINCIPAL = (
    '$(az identity show --resource-group "$AZURE_RESOURCE_GROUP" --name "$CERTRELAY_IDENTITY_NAME" '
    "--query principalId --output tsv)"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was looked at, whether it is `ok`, a sentence, and the command or step that mends it ("" if it is ok)."""

    what: str
    ok: bool
    detail: str
    mend: str = ""


type Check = Callable[[], list[Finding]]


def examine(services: Services) -> list[Finding]:
    """Look at everything, at the same time. Does not raise: what could not be looked at is a finding."""
    with ThreadPoolExecutor(8) as pool:
        return [finding for found in pool.map(lambda check: _run(*check), _checks(services)) for finding in found]


def _checks(services: Services) -> Iterator[tuple[str, Check]]:
    yield "settings", functools.partial(_settings, services)
    yield "notifications", functools.partial(_notifications, services)
    yield "storage", functools.partial(_storage, services)
    for alias in services.settings.vaults:
        yield f"vault {alias}", functools.partial(_vault, services, alias)
        yield f"policies of vault {alias}", functools.partial(_policies, services, alias)
    for name in services.settings.authorities:
        yield f"authority {name}", functools.partial(_authority, services, name)
        yield f"names of authority {name}", functools.partial(_names, services, name)
    yield "timers", functools.partial(_timers, services)


def _run(what: str, check: Check) -> list[Finding]:
    try:
        return check()
    except (CertRelayError, ConnectorError) as error:
        return [Finding(what, ok=False, detail=str(error), mend="see docs/operations.md")]
    except Exception as error:  # its text may contain secrets
        return [Finding(what, ok=False, detail=f"failed ({type(error).__name__})", mend="see the log of get_doctor")]


def _settings(services: Services) -> list[Finding]:
    """The settings as understood, without secrets and addresses of receivers."""
    known = services.settings
    vaults = ", ".join(f"{alias} = {vault.url}{_chosen(vault)}" for alias, vault in known.vaults.items())
    authorities = ", ".join(f"{name}{_chosen(one.settings)}" for name, one in known.authorities.items())
    schedules = ", ".join(f"{name} = {text}" for name, text in known.schedules.items())
    how = "Microsoft Entra ID" if known.app_service_authentication else f"function keys, as {known.function_key_role}"
    granted = "roles decide" if known.grants is None else f"{len(known.grants)} grants decide"
    return [
        Finding("settings: vaults", ok=True, detail=vaults),
        Finding("settings: authorities", ok=True, detail=authorities or "none"),
        Finding("settings: schedules", ok=True, detail=schedules),
        Finding("settings: renewals", ok=True, detail=f"{known.renewal_batch} at most in one sweep"),
        Finding("settings: callers", ok=True, detail=f"signed in by {how}; {granted}"),
    ]


def _chosen(settings: BaseModel) -> str:
    """What differs from the defaults. These settings have no secrets; the app's identity is nobody's business."""
    chosen = settings.model_dump(mode="json", exclude_defaults=True, exclude={"url", "client_id"})
    return f" {json.dumps(chosen)}" if chosen else ""


def _notifications(services: Services) -> list[Finding]:
    targets = services.settings.notifications
    told = {event for target in targets.values() for event in target.events}
    silent = [event for event in ALL_BUT_COMPLETED if event not in told]
    detail = ", ".join(f"{name} ({target.kind})" for name, target in targets.items()) or "nobody is told of anything"
    if silent:
        mend = "add a target, or these events to one, in CERTRELAY_NOTIFICATIONS (docs/renewal.md)"
        return [Finding("notifications", ok=False, detail=f"{detail}; not told: {', '.join(silent)}", mend=mend)]
    return [Finding("notifications", ok=True, detail=detail)]


def _storage(services: Services) -> list[Finding]:
    services.storage.check()
    found = [Finding("storage", ok=True, detail="tables and queues answer")]
    count = len(services.storage.watch.rows("poison"))
    mend = "GET /api/poison; POST /api/poison/{id}/retry or DELETE /api/poison/{id}"
    return [*found, Finding("poison queues", ok=not count, detail=f"{count} messages", mend=mend if count else "")]


def _vault(services: Services, alias: str) -> list[Finding]:
    vault, name = services.vault(alias), f"certrelay-doctor-{uuid.uuid4().hex[:12]}"
    found = []
    for action, method, path, body in _PROBES:
        what, detail = f"vault {alias}: {DATA_ACTIONS}{action}", "granted"
        try:
            vault.call(method, path.format(name), body)
        except VaultForbidden as error:
            found.append(Finding(what, ok=False, detail=str(error), mend=_assignment(vault.url)))
            continue
        except NotReady as error:
            return [*found, Finding(f"vault {alias}", ok=False, detail=str(error), mend=_network(vault.url))]
        except CertRelayError:  # such a certificate does not exist: the right was there
            pass
        found.append(Finding(what, ok=True, detail=detail))
    return [*found, *_clock(services, alias)]


def _assignment(url: str) -> str:
    name = _name(url)
    return (
        f'az role assignment create --role "{ROLE}" --assignee-object-id "{PRINCIPAL}" '
        "--assignee-principal-type ServicePrincipal "
        f"--scope $(az keyvault show --name {name} --query id --output tsv)"
    )


def _network(url: str) -> str:
    return f'az keyvault show --name {_name(url)} --query "properties.[publicNetworkAccess,networkAcls]"'


def _name(url: str) -> str:
    """The name of a vault."""
    return (urlsplit(url).hostname or "").split(".")[0]


def _clock(services: Services, alias: str) -> list[Finding]:
    date = services.vault(alias).date
    if date is None:
        return []
    error = services.now() - date
    detail = f"{round(error.total_seconds())} s ahead of Key Vault's"
    is_right = abs(error) <= MAX_CLOCK_ERROR
    return [Finding("clock", ok=is_right, detail=detail, mend="" if is_right else RESTART)]


def _policies(services: Services, alias: str) -> list[Finding]:
    """Managed certificates that Key Vault would renew by itself, too: two renewals, of two issuers."""
    vault, until = services.vault(alias), services.now() + timedelta(seconds=POLICY_SECONDS)
    managed = (item for page in vault.certificates() for item in page if is_managed(item.tags))
    looked_at, both = 0, list[str]()
    for item in itertools.islice(managed, MAX_POLICIES):
        if services.now() >= until:
            break
        looked_at += 1
        if renewed_by_key_vault((vault.get(item.name) or {}).get("policy") or {}):
            both.append(item.name)
    what = f"policies of vault {alias}"
    if not both:
        return [Finding(what, ok=True, detail=f"Key Vault renews none of {looked_at} managed certificates by itself")]
    text = f"Key Vault renews these by itself, besides CertRelay: {', '.join(both)}"
    mend = 'PATCH /api/vaults/{vault}/certificates/{name}/policy with {"issuer": {"name": "Unknown"}}'
    return [Finding(what, ok=False, detail=text, mend=mend)]


def _authority(services: Services, name: str) -> list[Finding]:
    connector = services.connector(name)
    if not isinstance(connector, ChecksHealth):
        return [Finding(f"authority {name}", ok=True, detail="cannot be checked without an order")]
    try:
        connector.check()
    except ConnectorError as error:
        mend = "check its settings in CERTRELAY_AUTHORITIES, its credentials and the network (docs/connectors.md)"
        return [Finding(f"authority {name}", ok=False, detail=str(error), mend=mend)]
    return [Finding(f"authority {name}", ok=True, detail="it answers and accepts the app's credentials")]


def _names(services: Services, authority: str) -> list[Finding]:
    """The DNS zones that an authority's challenges lead to, for the names of its latest operations, and of those of the
    authorities whose fall-back it is."""
    connector = services.connector(authority)
    if not isinstance(connector, ChecksNames):
        return []
    firsts = [name for name, one in services.settings.authorities.items() if authority in one.settings.fallback]
    pages = [listing.page(services, Filters(authority=name), 200) for name in (authority, *firsts)]
    operations = [operation for found, _ in pages for operation in found]
    names = sorted({name for one in operations for name in one.request.expected.names.dns_names})[:MAX_NAMES]
    found = connector.check_names(names)
    return [
        Finding(f"DNS of {name} at {authority}", ok=not fault, detail=fault or "its zone was found",
                mend="delegate the zone, or correct the alias of _acme-challenge (docs/connectors.md)" if fault else "")
        for name, fault in found.items()
    ]  # fmt: skip


def _timers(services: Services) -> list[Finding]:
    found = []
    for run in status.read(services).runs:
        if run.name == "event":
            continue
        when = run.succeeded_at.isoformat(timespec="seconds") if run.succeeded_at else "never"
        mend = f"look at the log; check CERTRELAY_{status.RUNS[run.name]}_SCHEDULE; {RESTART}"
        found.append(
            Finding(f"timer {run.name}", ok=not run.late, detail=f"last success: {when}", mend=mend * run.late)
        )
    return [*found, _events(services)]


def _events(services: Services) -> Finding:
    """Key Vault tells of each new version: if something was issued and no event came, the subscription is missing."""
    rows = services.storage.watch.all()
    seen = time_of(rows["run"].get("event"), "at")
    issued = max((moment for row in rows["answered"].values() if (moment := time_of(row, "at"))), default=None)
    detail = f"last event: {seen.isoformat(timespec='seconds') if seen else 'never'}"
    if issued is None or services.now() - issued < EVENT_DELAY or (seen is not None and seen >= issued - EVENT_DELAY):
        return Finding("event subscription", ok=True, detail=detail)
    text = f"{detail}, though a version was issued at {issued.isoformat(timespec='seconds')}; only the sweep renews now"
    mend = "azd hooks run postdeploy"
    return Finding("event subscription", ok=False, detail=text, mend=mend)
