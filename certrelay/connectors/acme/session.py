"""The client, account and solver of one ACME authority, as one process uses them."""

import base64
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import requests
from azure.core.exceptions import AzureError

from certrelay.connectors.acme.account import Account, key_from_pem
from certrelay.connectors.acme.account_key import AccountKey, KeyVersion
from certrelay.connectors.acme.client import AcmeClient, location
from certrelay.connectors.acme.contact import Contact
from certrelay.connectors.acme.dns import NoSolver, Solver
from certrelay.connectors.acme.dns_persist import NotUsable
from certrelay.connectors.acme.exchange import Exchange
from certrelay.connectors.acme.faults import FAULTS, NOT_OURS
from certrelay.connectors.acme.order import Order
from certrelay.connectors.acme.problem import Problem, UnusableAnswer, json_object
from certrelay.connectors.acme.reference import OrderElsewhere, OrderGone, Reference
from certrelay.connectors.acme.renewal_info import certificate_id, is_about_replacing, refusal, window_of
from certrelay.connectors.acme.seen import Seen, SeenOrders
from certrelay.connectors.acme.standing_records import MADE, StandingRecords, digest_of
from certrelay.connectors.base import ConnectorError, Context, RenewalWindow, StandingRecord
from certrelay.connectors.http import AuthoritySession, is_of, sentence
from certrelay.errors import CertRelayError
from certrelay.log import logger
from certrelay.pki.wording import listed

if TYPE_CHECKING:
    from certrelay.connectors.acme.settings import AcmeSettings

log = logger("acme")


class AcmeSession:
    """All methods raise FAULTS."""

    def __init__(
        self, settings: "AcmeSettings", context: Context, http: AuthoritySession, solver: Solver | None
    ) -> None:
        self._settings, self._http, self._now, self._context = settings, http, context.now, context
        self._contact = Contact(settings.contact, context.memory)
        self._keys: AccountKey | None = None
        self._version: KeyVersion | None = None
        if settings.account_key_pem:
            key = key_from_pem(settings.account_key_pem.get_secret_value())
        else:
            self._keys = AccountKey(str(settings.account_key_vault_url), str(settings.account_key_name), context)
            self._version = self._version_of_the_account(self._keys.versions())
            key = self._version.key
        self._client = self._client_of(key)
        self._seen = SeenOrders(context.now)
        self._account = self._account_of(self._client)
        self._solver = solver or make_solver(settings.dns, context)
        self._standing = (
            StandingRecords(settings, context, self._client, self._account) if settings.dns_persist else None
        )

    def _client_of(self, key: Any) -> AcmeClient:
        return AcmeClient(self._http, self._settings.url, key, self._now)

    def _account_of(self, client: AcmeClient) -> Account:
        binding = None
        if self._settings.eab_kid and self._settings.eab_hmac_key:
            binding = (self._settings.eab_kid, self._settings.eab_hmac_key.get_secret_value())
        shared = self._keys is not None
        return Account(client, self._contact, binding, self._remember_account, has_shared_key=shared)

    def _remember_account(self, url: str) -> None:
        """That we made the account; without storage it is forgotten, which only standing records mind."""
        try:
            self._context.memory[MADE] = digest_of(url)
        except CertRelayError as error:
            log.warning("that the account was made could not be stored: %s", error)

    def _has_account(self, version: KeyVersion) -> bool:
        return self._account_of(self._client_of(version.key)).find() is not None

    def _version_of_the_account(self, versions: list[KeyVersion]) -> KeyVersion:
        if len(versions) == 1:
            return versions[0]
        return next((one for one in versions if self._has_account(one)), versions[0])

    def has_lost_its_account(self, fault: Exception) -> bool:
        """Whether another process has rolled over the account key: our version of it is disabled, or the server has no
        account for it any more."""
        if self._keys is None or self._version is None:
            return False
        try:
            if isinstance(fault, AzureError):
                return self._version.id not in [one.id for one in self._keys.versions()]
            codes = (NOT_OURS, "malformed", "unauthorized")
            asked = isinstance(fault, OrderGone) or getattr(fault, "code", "") in codes
            return asked and self._account.find() is None
        except FAULTS:
            return False

    def roll_over(self) -> str:
        """Roll over the account key, and return the id of its new version.

        A version that an interrupted rollover created is used first."""
        if self._keys is None or self._version is None:
            raise ConnectorError("only an account key in Key Vault can be rolled over")
        self._account.url()
        left = [one for one in self._keys.newer_than(self._version) if not self._has_account(one)]
        new = left[-1] if left else self._keys.make()
        if self._standing:
            self._standing.remember_key()
        self._account.change_key(self._client_of(new.key))
        self._keys.disable_before(new)
        return new.id

    def check(self) -> None:
        self._account.check()

    def new_order(self, names: list[str], replaces: bytes | None) -> Order:
        """Place an order (section 7.4). The account is created again if the server lost it."""
        asked: dict[str, Any] = {"identifiers": [{"type": "dns", "value": name} for name in names]}
        if self._settings.profile:
            asked["profile"] = self._settings.profile
        replaced = replaces and self._client.resource("renewalInfo") and certificate_id(replaces)
        try:
            placed = self._place({**asked, "replaces": replaced} if replaced else asked)
        except Problem as problem:
            if not replaced or not is_about_replacing(problem):
                raise
            placed = self._place(asked)
        return self._order(placed)

    def order(self, reference: str) -> Order:
        return self._order(Reference.of(reference))

    def _order(self, reference: Reference) -> Order:
        exchange = Exchange(self._client, self._account)
        return Order(exchange, reference, self._solver, self._now, self._seen, self._standing)

    def standing_record(self, name: str, until: datetime | None) -> StandingRecord:
        """The record to publish for a name."""
        if self._standing is None:
            raise NotUsable("its settings have no dns_persist, so names are proved by dns-01 only")
        return self._standing.report(name, until)

    def standing_records(self, names: Iterable[str]) -> dict[str, str]:
        """For each name: until when its record is good, or that dns-01 is used. Raises NotUsable where it cannot be."""
        records = {name: self._standing.report(name, confirm=False) for name in names} if self._standing else {}
        faults = [record.fault for record in records.values() if record.fault]
        if faults and isinstance(self._solver, NoSolver):
            raise NotUsable(listed(faults))
        return {
            name: f"{record.fault}; dns-01 is used" if record.fault else _until(record.until)
            for name, record in records.items()
        }

    def forget_account(self) -> None:
        self._account.forget()

    def revoke(self, certificate: bytes, code: int) -> None:
        """Section 7.6. Always with the given reason: a server that does not support it is an error."""
        if self._client.resource("revokeCert") is None:
            raise ConnectorError("the authority does not revoke over ACME")
        asked, account = {"certificate": _base64url(certificate), "reason": code}, self._account.url()
        try:
            self._client.at("revokeCert", lambda url: self._client.post(url, asked, account))
        except Problem as problem:
            if problem.code == "badRevocationReason":
                text = f"it was not revoked: the server does not take this reason ({problem.detail}); try unspecified"
                raise ConnectorError(text) from None
            if problem.code != "alreadyRevoked":
                raise

    def renewal_window(self, certificate: bytes) -> RenewalWindow | None:
        """RFC 9773. None if the server has no renewal info at all. Raises NoRenewalWindow as well."""
        name = certificate_id(certificate)
        if name is None or self._client.resource("renewalInfo") is None:
            return None
        try:
            answer = self._client.at("renewalInfo", lambda url: self._client.fetch(f"{url.rstrip('/')}/{name}"))
        except Problem as problem:
            raise refusal(problem) from None
        return window_of(answer, self._now())

    def _place(self, asked: dict[str, Any]) -> Reference:
        def place(url: str) -> requests.Response:
            return self._client.post(url, asked, self._account.url())

        try:
            answer = self._client.at("newOrder", place)
        except Problem as problem:
            if problem.code != NOT_OURS or self._keys is not None:  # the account may have another version of the key
                raise
            self._account.forget()
            answer = self._client.at("newOrder", place)
        if not (url := location(answer)):
            json_object(answer)
            raise OrderElsewhere("the server placed an order and did not say where (no Location); report it to the CA")
        if not is_of(self._settings.url, url):
            raise OrderElsewhere(
                f"the server says that its order is at {sentence(url, 100)}, another origin than that of the "
                "authority's url; correct the url, or the server's own name of itself"
            )
        finalize = None
        with suppress(UnusableAnswer):  # the order itself may have it all
            order = json_object(answer)
            finalize = order.get("finalize")
            self._seen.keep(url, Seen(order, self._now()))
        finalize = finalize if isinstance(finalize, str) else ""
        return Reference(url, finalize=finalize, stored=self._now().timestamp())


def make_solver(settings: Any, context: Context) -> Solver:
    """The solver for the setting `dns`; its libraries are imported now."""
    match settings.provider:
        case "rfc2136":
            from certrelay.connectors.acme.dns.rfc2136 import Rfc2136

            return Rfc2136(settings)
        case "azure":
            from certrelay.connectors.acme.dns.azure_dns import AzureDnsZones

            return AzureDnsZones(settings, context)
        case "lexicon":
            from certrelay.connectors.acme.dns.lexicon import Lexicon

            return Lexicon(settings)
        case _:
            return NoSolver()


def _until(moment: datetime | None) -> str:
    return f"good until {moment:%Y-%m-%dT%H:%M:%SZ}" if moment else "good without an end"


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
