"""The Automatic Certificate Management Environment, RFC 8555: Let's Encrypt and all that speak its protocol.

Names are validated by dns-01, or by standing records (dns-persist-01). Each call reads the state of the order from the
server, so that a crash at any line loses at most an order that nobody finalizes.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from certrelay.connectors.acme.dns import DnsFailure, Solver
from certrelay.connectors.acme.dns.lookup import Lookup
from certrelay.connectors.acme.dns.settings import LookedUp
from certrelay.connectors.acme.faults import FAULTS, after_losses, outcome_of
from certrelay.connectors.acme.session import AcmeSession
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import (
    ConnectorError,
    ConnectorSettings,
    Context,
    Feature,
    Outcome,
    Rejected,
    RenewalWindow,
    RevocationReason,
    SigningRequest,
    StandingRecord,
    Unavailable,
)
from certrelay.connectors.http import AuthoritySession
from certrelay.connectors.single_flight import SingleFlight

HOST_NAME = re.compile(r"^(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*$")
REASON_CODES = {
    RevocationReason.UNSPECIFIED: 0,
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.CA_COMPROMISE: 2,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
    RevocationReason.CERTIFICATE_HOLD: 6,
    RevocationReason.PRIVILEGE_WITHDRAWN: 9,
}


class Acme:
    """Connector `acme`. A reference is the order's URL with its challenge records, in JSON."""

    Settings: ClassVar[type[ConnectorSettings]] = AcmeSettings
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.WILDCARD, Feature.RSA, Feature.EC})

    def __init__(self, settings: AcmeSettings, context: Context, solver: Solver | None = None) -> None:
        self._settings, self._context, self._solver = settings, context, solver
        self._http = AuthoritySession(settings)
        self._flight = SingleFlight()
        self._known: AcmeSession | None = None

    def submit(self, request: SigningRequest) -> Outcome:
        names = identifiers(request)

        def place() -> Outcome:
            return self._session().new_order(names, request.replaces).begin(request, names)

        return self._outcome(place) if names else Rejected("an ACME order needs a DNS name")

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        def advance() -> Outcome:
            order = self._session().order(reference)
            return order.advance(request, identifiers(request), self._settings.preferred_chain)

        outcome = self._outcome(advance)
        if isinstance(outcome, Unavailable) and outcome.restart:
            return after_losses(outcome, request.lost_orders)
        return outcome

    def cancel(self, reference: str) -> None:
        self._or_raise(lambda: self._session().order(reference).cancel())

    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        """Section 7.6; the request is signed by the account that ordered the certificate."""
        self._or_raise(lambda: self._session().revoke(certificate, REASON_CODES[reason]))

    def renewal_window(self, certificate: bytes) -> RenewalWindow | None:
        """RFC 9773."""
        return self._or_raise(lambda: self._session().renewal_window(certificate))

    def check(self) -> None:
        """Check that the directory answers and that the server has, or creates, our account."""
        self._or_raise(lambda: self._session().check())

    def standing_record(self, name: str, until: datetime | None = None) -> StandingRecord:
        """dns-persist-01: the record to publish, once the server has confirmed the account."""
        return self._or_raise(lambda: self._session().standing_record(name, until))

    def standing_records(self) -> dict[str, str]:
        """dns-persist-01: the records of the names in the settings."""
        persist = self._settings.dns_persist
        return self._or_raise(lambda: self._session().standing_records(persist.names)) if persist else {}

    def check_names(self, names: list[str]) -> dict[str, str]:
        """The zone of each name's challenge is looked up; whether it can be changed, only an order shows."""
        settings = self._settings.dns
        if not isinstance(settings, LookedUp):
            return {}
        lookup, found = Lookup(settings), dict[str, str]()
        for name in names:
            try:
                lookup.zone(lookup.target(f"_acme-challenge.{name.removeprefix('*.')}"))
                found[name] = ""
            except DnsFailure as failure:
                found[name] = str(failure)
        return found

    def roll_over_account_key(self) -> str:
        """Section 7.3.5."""
        try:
            return self._or_raise(lambda: self._session().roll_over())
        finally:
            self._forget_session()

    def _forget_session(self) -> None:
        self._known = None

    def _session(self) -> AcmeSession:
        """The session, created at first use: that reads the public account key from Key Vault."""

        def made() -> AcmeSession:
            known = self._known
            if known is None:
                known = self._known = AcmeSession(self._settings, self._context, self._http, self._solver)
            return known

        return self._flight.do(made)

    def _ask[T](self, step: Callable[[], T]) -> T:
        """Take the step, and once more if another process has rolled over the account key."""
        try:
            return step()
        except FAULTS as fault:
            if not (self._known and self._known.has_lost_its_account(fault)):
                raise
        self._forget_session()
        return step()

    def _outcome(self, step: Callable[[], Outcome]) -> Outcome:
        try:
            return self._ask(step)
        except FAULTS as fault:
            outcome = outcome_of(fault)
            if isinstance(outcome, Unavailable) and outcome.restart and self._known:
                self._known.forget_account()
            return outcome

    def _or_raise[T](self, ask: Callable[[], T]) -> T:
        try:
            return self._ask(ask)
        except FAULTS as fault:
            outcome = outcome_of(fault)
            raise ConnectorError(outcome.reason) from None


def identifiers(request: SigningRequest) -> list[str]:
    """The DNS names of an order, which include the common name (CA/Browser Forum BR, 7.1.4.2.2)."""
    names = list(request.names.dns_names)
    common_name = (request.names.common_name or "").lower()
    if HOST_NAME.match(common_name) and common_name not in names:
        names.append(common_name)
    return names
