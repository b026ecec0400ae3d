"""Whether the endpoint of a certificate serves its newest version, by what was seen there last.

docs/decisions/0011-last-mile.md has the reasons; certrelay.renewal.looks looks.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from certrelay.endpoints import Endpoint, parse
from certrelay.keyvault.certificate import CertificateItem
from certrelay.keyvault.tags import endpoint_of
from certrelay.services import Services
from certrelay.setting_models import Settings
from certrelay.storage.endpoint_record import EndpointRecord

DAY = timedelta(days=1)
SHORTEST_GRACE = timedelta(hours=1)
LAST_SHARE = 1 / 6  # of the lifetime of what is served
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class State(StrEnum):
    """What is known of an endpoint. `pending`: something else is served, and there is time left to deploy."""

    NOT_ALLOWED = "not-allowed"
    UNSEEN = "unseen"
    UNREACHABLE = "unreachable"
    DEPLOYED = "deployed"
    PENDING = "pending"
    NOT_DEPLOYED = "not-deployed"


def records(services: Services, alias: str, items: list[CertificateItem]) -> dict[str, EndpointRecord]:
    """The records of those of a page that have an endpoint, as they hold for the newest versions, by name.

    One request for the page; none, and nothing, if the setting allows no endpoint. Raises NotReady."""
    tagged = [item for item in items if endpoint_of(item.tags) is not None] if services.settings.endpoints else []
    if not tagged:
        return {}
    found = services.storage.renewals.endpoints(alias, [item.name for item in tagged])
    now = services.now()
    return {
        item.name: (found.get(item.name.lower()) or EndpointRecord(alias, item.name)).about(
            endpoint_of(item.tags) or "", item.thumbprint, _since(item, now)
        )
        for item in tagged
    }


def state(settings: Settings, record: EndpointRecord, now: datetime) -> State:
    """What is known of the endpoint of a record, as `records` returns it."""
    if allowed(settings, record.endpoint) is None:
        return State.NOT_ALLOWED
    if record.looked_at is None:
        return State.UNSEEN
    if record.error:
        return State.UNREACHABLE
    if record.served == record.newest:
        return State.DEPLOYED
    return State.NOT_DEPLOYED if now >= due(record) else State.PENDING


def due(record: EndpointRecord) -> datetime:
    """When the newest version should be served: a day after it is in the vault; sooner if the served one ends soon."""
    since = record.since or LONG_AGO
    left = record.served_until - since if record.served_until else 2 * DAY
    return since + min(DAY, max(left / 2, SHORTEST_GRACE))


def allowed(settings: Settings, written: str) -> Endpoint | None:
    """The endpoint that a tag says, if the settings allow it; others may write tags, too."""
    try:
        endpoint = parse(written)
    except ValueError:
        return None
    return endpoint if settings.networks_of(endpoint) is not None else None


def is_near_its_end(record: EndpointRecord, now: datetime) -> bool:
    """Whether what is served is in the last sixth of its lifetime, or has expired."""
    begins, ends = record.served_from, record.served_until
    return begins is not None and ends is not None and now >= ends - (ends - begins) * LAST_SHARE


def _since(item: CertificateItem, now: datetime) -> datetime:
    """Since when a version has been in the vault. Key Vault counts from the request, which people may sign days later;
    no certificate is there before it is valid."""
    known = [one for one in (item.created, item.not_before) if one is not None]
    return min(max(known, default=now), now)
