"""Challenge records in Azure DNS, https://learn.microsoft.com/rest/api/dns/record-sets, with the app's own identity."""

from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.mgmt.dns import DnsManagementClient
from azure.mgmt.dns.models import RecordSet, TxtRecord

from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns.lookup import Lookup
from certrelay.connectors.acme.dns.settings import AzureDns
from certrelay.connectors.base import Context

TRIES = 5
CLIENT_OPTIONS: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 20, "retry_total": 2, "retry_status": 0}


class AzureDnsZones:
    """The zones of one resource group. A record set holds the values of all orders, so each change checks its ETag."""

    def __init__(self, settings: AzureDns, context: Context, **client: Any) -> None:
        self._settings = settings
        self._lookup = Lookup(settings)
        options = {**CLIENT_OPTIONS, **client}
        self._records = DnsManagementClient(context.credential(), settings.subscription_id, **options).record_sets

    def publish(self, name: str, value: str) -> None:
        self._change(name, lambda values: values | {value})

    def is_visible(self, name: str, value: str) -> bool:
        return self._lookup.is_visible(name, value)

    def remove(self, name: str, value: str) -> None:
        self._change(name, lambda values: values - {value})

    def _change(self, name: str, change: Any) -> None:
        target = self._lookup.target(name)
        zone = self._lookup.zone(target)
        place = (
            self._settings.resource_group,
            zone.to_text(omit_final_dot=True),
            target.relativize(zone).to_text(),
            "TXT",
        )
        try:
            for _ in range(TRIES):
                if self._tried(place, change):
                    return
        except AzureError as error:
            status = getattr(error, "status_code", None)
            fault = f"HTTP {status}" if status else type(error).__name__
            raise DnsFailure(f"Azure DNS did not change {name} in the zone {place[1]} ({fault})") from None
        raise DnsFailure(f"the record set {name} changed during each of {TRIES} tries to change it")

    def _tried(self, place: tuple[str, str, str, str], change: Any) -> bool:
        """Change the record set, and nothing in it that is not ours. False if somebody else changed it in between."""
        try:
            found = self._records.get(*place)
        except ResourceNotFoundError:
            found = None
        old = {"".join(one.value or ()): one for one in (found.txt_records or ())} if found else {}
        new = change(old.keys())
        if new == old.keys():
            return True
        guard = {"if_match": found.etag} if found else {"if_none_match": "*"}
        try:
            if new:
                texts = [old.get(text) or TxtRecord(value=[text]) for text in sorted(new)]
                ttl, metadata = (found.ttl, found.metadata) if found else (self._settings.ttl, None)
                changed = RecordSet(ttl=ttl, metadata=metadata, txt_records=texts)
                self._records.create_or_update(*place, changed, **guard)
            else:
                self._records.delete(*place, **guard)
        except (ResourceModifiedError, ResourceExistsError):
            return False
        except AzureError as error:
            if getattr(error, "status_code", None) != 412:
                raise
            return False
        return True
