"""Standing records (dns-persist-01): what a domain's owner publishes once, and whether an order can rely on it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from certrelay.connectors.acme.account import Account
from certrelay.connectors.acme.challenge import Challenge, thumbprint_of
from certrelay.connectors.acme.client import AcmeClient
from certrelay.connectors.acme.dns import DnsFailure, SilentServers
from certrelay.connectors.acme.dns.lookup import Lookup, Texts
from certrelay.connectors.acme.dns.settings import LookedUp
from certrelay.connectors.acme.dns_persist import (
    ALL_NAMES,
    PREFIX,
    Format,
    NotUsable,
    Offer,
    Record,
    best,
    check_consistency,
    checked_account,
    checked_prefix,
    format_of,
    hashed_uri,
    issuer_names,
)
from certrelay.connectors.acme.problem import UnusableAnswer, json_object
from certrelay.connectors.acme.settings import AcmeSettings, DnsPersist
from certrelay.connectors.base import Context, StandingRecord
from certrelay.connectors.http import sentence
from certrelay.connectors.http_settings import origin
from certrelay.errors import CertRelayError
from certrelay.log import logger

# Keys of the connector's memory: the account that we made, the thumbprints of its former keys, what the server offers.
MADE, FORMER_KEYS, OFFERED = "acme-account", "acme-former-keys", "acme-dns-persist"
MAX_FORMER_KEYS, MAX_NAME = 20, 253
NO_OFFER = "none"
SOON = timedelta(days=30)

log = logger("acme")


def digest_of(account: str) -> str:
    """What is remembered of an account's URL."""
    return hashlib.sha256(account.encode()).hexdigest()


class StandingRecords:
    """For one authority whose settings switch dns-persist-01 on, and one account key."""

    def __init__(self, settings: AcmeSettings, context: Context, client: AcmeClient, account: Account) -> None:
        assert settings.dns_persist is not None  # noqa: S101 - who makes this has checked it
        self._settings, self._persist, self._context = settings, settings.dns_persist, context
        self._client, self._account = client, account
        self._lookup = Lookup(_servers(settings, self._persist))
        self._offered: str | None = None

    def chosen(self, challenge: Challenge) -> tuple[Challenge, str]:
        """The challenge that proves the name by its standing record, without a record to publish; else the challenge as
        it is, and the reason in one clause. Raises what AcmeClient and Account raise."""
        name = challenge.identifier.removeprefix("*.").removesuffix(".").lower()
        try:
            offer = self._offer(challenge)
            wanted, accounts = self._wanted(name, offer.format, wildcard=challenge.wildcard)
            found = self._look(name, wanted, accounts)
        except (NotUsable, DnsFailure) as reason:
            return challenge, str(reason)
        if fault := self._fault(name, found):
            return challenge, fault
        if found and found.until and found.until < self._context.now() + SOON:
            log.warning("the record %s%s expires on %s; publish a new one", PREFIX, name, _day(found.until))
        return replace(challenge, url=offer.url, record=None), ""

    def report(self, name: str, until: datetime | None = None, *, confirm: bool = True) -> StandingRecord:
        """The record to publish for a normalised name, which may be a wildcard, good until `until` (UTC), and what is
        there now. With `confirm`, the server confirms the account first (draft -02, section 4.5).

        Raises NotUsable, and what AcmeClient and Account raise."""
        base, wildcard = name.removeprefix("*."), name.startswith("*.")
        meta = self._client.meta()
        spoken, offered = format_of(meta), self._remembered(OFFERED)
        if spoken is Format.HASHED:
            self._check_issuer(issuer_names(meta["issuerDomainNames"]))
        elif isinstance(identities := meta.get("caaIdentities"), list) and identities:
            self._check_issuer(tuple(str(one).lower().removesuffix(".") for one in identities))
        if confirm:
            self._confirm_account()
        wanted, accounts = self._wanted(base, spoken, wildcard=wildcard)
        wanted = replace(wanted, until=until)
        found, fault = self._looked_up(base, wanted, accounts)
        return StandingRecord(
            name=PREFIX + base,
            value=wanted.text(),
            strings=tuple(wanted.strings()),
            format=spoken.value,
            offered=None if not offered else offered != NO_OFFER,
            until=found.until if found else None,
            fault=fault,
        )

    def _looked_up(self, name: str, wanted: Record, accounts: list[str]) -> tuple[Record | None, str]:
        """The record that is there now, and its fault: what to publish can be told although the DNS is silent."""
        try:
            found = self._look(name, wanted, accounts)
        except DnsFailure as reason:
            return None, str(reason)
        return found, self._fault(name, found)

    def remember_key(self) -> None:
        """Keep the thumbprint of the key before it is rolled over: records with it stay good (section 7.2.1)."""
        former = [one for one in self._former_keys() if one != self._thumbprint()]
        self._remember(FORMER_KEYS, json.dumps([self._thumbprint(), *former][:MAX_FORMER_KEYS]))

    def _offer(self, challenge: Challenge) -> Offer:
        offer = challenge.persist
        if not isinstance(offer, Offer):
            self._note_offer(NO_OFFER)
            reason = f"this authority does not offer dns-persist-01 for {challenge.identifier}"
            raise NotUsable(f"{reason}: {offer}" if offer else reason)
        self._note_offer(offer.format.value)
        check_consistency(offer, self._client.meta())
        self._check_issuer(offer.issuers)
        if offer.account is not None and offer.account != self._account.url():
            raise NotUsable("the challenge of the server names another account than ours")
        return offer

    def _check_issuer(self, issuers: tuple[str, ...]) -> None:
        """The settings say which CA is meant: a record made of a server's words only might serve another one."""
        if self._persist.issuer not in issuers:
            names = ", ".join(issuers[:10])
            raise NotUsable(f"the server calls itself {names[:300]}, and dns_persist names {self._persist.issuer}")

    def _wanted(self, name: str, spoken: Format, *, wildcard: bool) -> tuple[Record, list[str]]:
        """The record to publish, and all account URIs that stand for our account at the name."""
        if len(PREFIX + name) > MAX_NAME:
            raise NotUsable(f"{name} is too long for a record at {PREFIX}")
        account = checked_account(self._account.url())
        if origin(account) != origin(self._settings.url):
            raise NotUsable("the account's URL has another origin than the directory")
        if spoken is Format.ACCOUNT_URL:
            self._check_that_we_made(account)
            uris = [account]
        else:
            prefix, keys = checked_prefix(self._client.meta().get("accountHashPrefix")), [self._thumbprint()]
            uris = [
                hashed_uri(prefix, hashed, key, account)
                for key in keys + self._former_keys()
                for hashed in (name, ALL_NAMES)
            ]
        return Record(self._persist.issuer, uris[0], wildcard), uris

    def _check_that_we_made(self, account: str) -> None:
        """A record with an account's URL serves whoever has that account. It is ours if its key never left Key Vault.
        With a key in the settings, the server must have made the account for us."""
        if self._settings.account_key_pem and self._remembered(MADE) != digest_of(account):
            raise NotUsable(
                "CertRelay did not make the account, so a record with its URL might serve others: use a key in "
                "Key Vault, or a new one"
            )

    def _confirm_account(self) -> None:
        url = self._account.url()
        if json_object(self._client.post(url, None, url)).get("status") != "valid":
            raise NotUsable("the account at the server is not valid")

    def _look(self, name: str, wanted: Record, accounts: list[str]) -> Record | None:
        """The record that proves the name, of those that all name servers have; the one that ends first."""
        seen: list[Record] = []

        def has(texts: Texts) -> bool:
            found = best(texts, wanted, accounts)
            if found:
                seen.append(found)
            return found is not None

        try:
            if not self._lookup.all_have(PREFIX + name, has):
                return None
        except SilentServers as silent:
            log.warning("%s%s: %s; the others have the record", PREFIX, name, silent)
        return min(seen, key=lambda record: record.until or datetime.max.replace(tzinfo=UTC))

    def _fault(self, name: str, found: Record | None) -> str:
        if found is None:
            return f"no record for this account was found at {PREFIX}{name}"
        if found.until and found.until <= self._context.now():
            return f"the record at {PREFIX}{name} expired on {_day(found.until)}"
        return ""

    def _thumbprint(self) -> str:
        return thumbprint_of(self._client.public_key)

    def _former_keys(self) -> list[str]:
        try:
            found = json.loads(self._remembered(FORMER_KEYS) or "[]")
        except ValueError:
            return []
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def _note_offer(self, spoken: str) -> None:
        if self._offered != spoken and self._remembered(OFFERED) != spoken:
            self._remember(OFFERED, spoken)
        self._offered = spoken

    def _remembered(self, key: str) -> str:
        try:
            return self._context.memory.get(key, "")
        except CertRelayError:
            return ""

    def _remember(self, key: str, text: str) -> None:
        try:
            self._context.memory[key] = text
        except CertRelayError as error:
            log.warning("%s could not be stored: %s", key, error)


def proofs(
    challenges: Iterable[Challenge], names: Iterable[str], standing: StandingRecords | None, *, has_dns: bool
) -> Iterator[Challenge]:
    """The challenges to answer: each as `proof` says. `names` were asked for; raises UnusableAnswer for another one."""
    asked = {name.removeprefix("*.") for name in names}
    for challenge in challenges:
        if challenge.identifier.removeprefix("*.").lower() not in asked:
            raise UnusableAnswer(f"it wants proof of {sentence(challenge.identifier, 100)}, which was not requested")
        yield proof(standing, challenge, has_dns=has_dns)


def proof(standing: StandingRecords | None, challenge: Challenge, *, has_dns: bool) -> Challenge:
    """The challenge that proves the name: by its standing record if it can, else dns-01 if there `has_dns`.

    Raises UnusableAnswer where neither can, and what AcmeClient and Account raise."""
    chosen, reason = standing.chosen(challenge) if standing else (challenge, "")
    if reason and not has_dns:
        raise UnusableAnswer(f"{reason}, and the setting dns is none")
    if chosen.url is None:
        raise UnusableAnswer(f"it offers no dns-01 challenge for {challenge.identifier}")
    if reason:
        log.info("%s: %s; dns-01 is used", challenge.identifier, reason)
    return chosen


def _servers(settings: AcmeSettings, persist: DnsPersist) -> LookedUp:
    own = persist.resolvers or persist.name_servers
    return settings.dns if not own and isinstance(settings.dns, LookedUp) else persist


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
