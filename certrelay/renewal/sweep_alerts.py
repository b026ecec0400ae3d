"""The alerts of one sweep: one for each certificate, and one for all that a known cause holds up."""

from collections import defaultdict
from datetime import datetime

from certrelay.errors import NotReady
from certrelay.keyvault.certificate import CertificateItem
from certrelay.log import about, logger
from certrelay.renewal import alerts
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord
from certrelay.storage.watch import told_of

log = logger("sweep")


class SweepAlerts:
    """`until`: when the sweep stops sending; what was not sent is left to the next one."""

    def __init__(self, services: Services, until: datetime) -> None:
        self._services, self._until = services, until
        self._can_notify = True
        self._incidents = told_of(services.storage.watch.rows("incident"))
        self._grouped: dict[tuple[str, str], list[tuple[str, CertificateItem, RenewalRecord]]] = defaultdict(list)

    def send(self, alias: str, item: CertificateItem, record: RenewalRecord) -> RenewalRecord:
        """Send the certificate's alert if one is due; returns its record. Raises nothing."""
        now = self._services.now()
        # Each try costs seconds while the queue is down; the sweep must not wait for it.
        if not self._can_notify or now > self._until or not alerts.unsent(item, record, now):
            return record
        if cause := alerts.known_cause(self._incidents, alias, item):
            self._grouped[cause, alerts.stage(item, now)].append((alias, item, record))
            return record
        try:
            alerted = alerts.send(self._services, alias, item, record)
            self._can_notify = not alerts.unsent(item, alerted, self._services.now())
            return alerted
        except Exception:  # a failed alert must not stop any renewal
            with about(vault=alias, certificate=item.name):
                log.exception("the alert could not be sent")
            return record

    def send_together(self) -> None:
        """Send one alert for all certificates that one known cause holds up."""
        try:
            for (cause, reached), entries in self._grouped.items():
                alerts.send_together(self._services, cause, reached, entries)
        except NotReady as error:
            log.warning("the alerts of this sweep were not all sent; the next sweep continues: %s", error)
