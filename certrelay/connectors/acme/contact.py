"""The contacts of an ACME account (RFC 8555, section 7.3.2)."""

import hashlib
import json

import requests

from certrelay.connectors.acme.client import AcmeClient
from certrelay.connectors.acme.problem import Problem, UnusableAnswer
from certrelay.connectors.base import Memory
from certrelay.errors import CertRelayError
from certrelay.log import logger

KEY = "acme-contact"

log = logger("acme")


class Contact:
    """The contacts of the settings, and which of them the account has been sent.

    The server's contacts are never compared: Let's Encrypt stores no contacts, and answers an update without them. So a
    digest of what was sent, and to which account, is remembered in storage. It survives restarts and a rollover of the
    key, costs no request to the server, and needs no further role in Key Vault, as a tag of the key would."""

    def __init__(self, addresses: tuple[str, ...], memory: Memory) -> None:
        self.urls = [f"mailto:{address}" for address in addresses]
        self._memory = memory
        self._sent: str | None = None

    def update(self, client: AcmeClient, account: str) -> None:
        """Send the contacts to the account if they have changed. Never raises: contacts fail no order."""
        if self._sent is None:
            self._sent = self._remembered()
        if self._sent is None:
            return
        digest = self._digest(account)
        if self._sent == digest or not (self._sent or self.urls):
            return
        try:
            client.post(account, {"contact": self.urls}, account)
            log.info("the account's contacts were changed")
        except (Problem, UnusableAnswer, requests.RequestException) as fault:
            if not (isinstance(fault, Problem) and 400 <= fault.status < 500 and fault.status != 429):
                self._sent = digest  # the next process tries again
                return
            log.error("the server refused the new contacts: %s", fault)
        self.sent(account)

    def sent(self, account: str) -> None:
        """Remember that the account has the contacts."""
        self._sent = self._digest(account)
        try:
            self._memory[KEY] = self._sent
        except CertRelayError as error:
            log.warning("that the account has its contacts could not be stored: %s", error)

    def _remembered(self) -> str | None:
        """The stored digest; empty if there is none, None if storage cannot be used now."""
        try:
            return self._memory.get(KEY, "")
        except CertRelayError:
            return None

    def _digest(self, account: str) -> str:
        return hashlib.sha256(json.dumps([account, self.urls]).encode()).hexdigest()
