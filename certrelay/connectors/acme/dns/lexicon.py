"""Challenge records by dns-lexicon, which supports some ninety DNS providers.

Its `Client` guesses the zone by the public suffix list, which it fetches from the internet; here the DNS itself is
asked for the zone, so the provider's class is used without the client.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import requests
from lexicon._private.discovery import load_provider_module
from lexicon.config import ConfigResolver
from lexicon.interfaces import Provider

from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns.lookup import Lookup
from certrelay.connectors.acme.dns.settings import LexiconDns

SECONDS = 60.0
THREAD = "dns-lexicon"

# At DEBUG the library logs what it sends, and urllib3 logs the URL, which for some services holds the key.
logging.getLogger("lexicon").setLevel(logging.WARNING)
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: record.threadName != THREAD)


class Lexicon:
    """One provider and its credentials."""

    def __init__(self, settings: LexiconDns) -> None:
        self._settings = settings
        self._lookup = Lookup(settings)

    def publish(self, name: str, value: str) -> None:
        self._change(name, lambda provider, target: published(provider, target, value))

    def is_visible(self, name: str, value: str) -> bool:
        return self._lookup.is_visible(name, value)

    def remove(self, name: str, value: str) -> None:
        self._change(name, lambda provider, target: removed(provider, target, value))

    def _change(self, name: str, change: Callable[[Provider, str], bool]) -> None:
        target = self._lookup.target(name)
        zone = self._lookup.zone(target).to_text(omit_final_dot=True)
        done: list[bool | Exception] = []

        def work() -> None:
            try:
                done.append(change_in(self._provider(zone), target.to_text(omit_final_dot=True), change))
            except Exception as error:
                done.append(error)

        # The providers set no timeouts, so the call runs in a thread that is waited for only so long.
        thread = threading.Thread(target=work, name=THREAD, daemon=True)
        thread.start()
        thread.join(SECONDS)
        [result] = done or [TimeoutError()]
        if result is not True:
            raise DnsFailure(f"{self._settings.service} did not change {name} in the zone {zone} ({_fault(result)})")

    def _provider(self, zone: str) -> Provider:
        given = self._settings
        secrets = {key: secret.get_secret_value() for key, secret in given.secrets.items()}
        own: dict[str, Any] = {**given.options, **secrets}
        asked = {"provider_name": given.service, "domain": zone, "ttl": given.ttl, given.service: own}
        config = ConfigResolver().with_dict(asked)  # type: ignore[no-untyped-call]
        made: Provider = load_provider_module(given.service).Provider(config)
        return made


def change_in(provider: Provider, target: str, change: Callable[[Provider, str], bool]) -> bool:
    """Log in, change, and log out."""
    provider.authenticate()
    try:
        return change(provider, target)
    finally:
        provider.cleanup()


def published(provider: Provider, target: str, value: str) -> bool:
    return _done(
        lambda: provider.create_record("TXT", target, value),
        lambda: bool(provider.list_records("TXT", target, value)),
    )


def removed(provider: Provider, target: str, value: str) -> bool:
    return _done(
        lambda: provider.delete_record(None, "TXT", target, value),
        lambda: not provider.list_records("TXT", target, value),
    )


def _done(change: Callable[[], object], is_done: Callable[[], bool]) -> bool:
    """Some providers raise or return False if there is nothing to do; then the records decide. The library promises a
    boolean, but many providers return the service's answer, and some return nothing."""
    try:
        said = change()
    except Exception:
        if not is_done():
            raise
        return True
    return said is not False or is_done()


def _fault(result: object) -> str:
    """The kind of failure. The texts of exceptions are left out, since they may contain URLs with credentials."""
    if isinstance(result, requests.HTTPError) and result.response is not None:
        return f"HTTP {result.response.status_code}"
    return "refused" if result is False else type(result).__name__
