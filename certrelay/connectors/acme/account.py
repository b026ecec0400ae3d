"""The account at an ACME server (RFC 8555, section 7.3): find it by its key, create it, change its key."""

from collections.abc import Callable
from typing import Any

import requests
from acme.messages import ExternalAccountBinding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certrelay.connectors.acme.client import AcmeClient, location
from certrelay.connectors.acme.contact import Contact
from certrelay.connectors.acme.problem import Problem, UnusableAnswer
from certrelay.connectors.single_flight import SingleFlight

NOT_THERE, BINDING_WANTED = "accountDoesNotExist", "externalAccountRequired"
EAB_FAULTS = (BINDING_WANTED, "malformed", "unauthorized")


class BindingRefused(Exception):
    """The external account binding is missing or wrong."""


class Account:
    """The account, by its URL. The server is asked for it once per process, and again after `forget`."""

    def __init__(
        self,
        client: AcmeClient,
        contact: Contact,
        binding: tuple[str, str] | None,
        made: Callable[[str], None] = lambda url: None,
        *,
        has_shared_key: bool = False,
    ) -> None:
        """`binding`: key id and HMAC key in base64url (section 7.3.4). `made` is told the URL of a new account.
        `has_shared_key`: another process may give the account another key."""
        self._client, self._contact, self._binding, self._made = client, contact, binding, made
        self._url: str | None = None
        self._has_shared_key, self._was_known = has_shared_key, False
        self._flight = SingleFlight()

    def url(self) -> str:
        """The account's URL; the account is created if needed.

        If the server has lost a known account whose key is shared, raises Problem once: with the former key another
        account would be made, which everybody would then use. Raises BindingRefused and what AcmeClient raises."""
        return self._flight.do(self._known)

    def _known(self) -> str:
        url = self._url  # another thread may reset it
        if url is None:
            # With a binding, look for the account first: some servers let each binding be used only once.
            url = self.find() if self._binding or self._may_have_another_key() else None
            if url is None and self._may_have_another_key():
                raise self._lost()
            url = url or self._make()
            self._contact.update(self._client, url)
            self._url, self._was_known = url, True
        return url

    def _may_have_another_key(self) -> bool:
        return self._was_known and self._has_shared_key

    def _lost(self) -> Problem:
        self._url, self._was_known = None, False
        return Problem(NOT_THERE, "the server does not know our account any more")

    def forget(self) -> None:
        self._url = None

    def check(self) -> None:
        """Ask the server, and create the account if there is none.

        If the server has lost a known account, raises Problem once: another process may have changed its key. Raises
        what `url` raises."""
        if (url := self.find()) is not None:
            self._contact.update(self._client, url)
            self._url, self._was_known = url, True
            return
        if self._url or self._may_have_another_key():
            raise self._lost()
        self.url()

    def find(self) -> str | None:
        """The URL of the account that the server has for the key (section 7.3.1). Raises what `url` raises."""
        asked = {"onlyReturnExisting": True}
        try:
            try:
                return _url_of(self._post(asked))
            except Problem as problem:
                if problem.code != BINDING_WANTED:
                    raise
                return _url_of(self._post_bound(asked))  # some servers require it in every request
        except Problem as problem:
            if problem.code != NOT_THERE:
                raise
            return None

    def change_key(self, new: AcmeClient) -> None:
        """Section 7.3.5: from now on the account belongs to the other client's key. Raises what AcmeClient raises."""
        if self._client.resource("keyChange") is None:
            raise UnusableAnswer("it does not support changing account keys")
        account = self.url()
        inner = {"account": account, "oldKey": self._client.public_key.to_json()}
        self._client.at("keyChange", lambda url: self._client.post(url, new.signed_by_itself(url, inner), account))

    def _make(self) -> str:
        """Create the account and return its URL. An existing account keeps its contacts (section 7.3.1)."""
        asked: dict[str, Any] = {"termsOfServiceAgreed": True}
        if self._contact.urls:
            asked["contact"] = self._contact.urls
        answer = self._post_bound(asked)
        url = _url_of(answer)
        if answer.status_code == requests.codes.created:
            self._contact.sent(url)
            self._made(url)
        return url

    def _post_bound(self, asked: dict[str, Any]) -> requests.Response:
        try:
            return self._post(asked, self._binding)
        except Problem as problem:
            if problem.code in EAB_FAULTS and self._binding:
                raise BindingRefused(f"the server refused eab_kid and eab_hmac_key: {problem.detail}") from None
            if problem.code == BINDING_WANTED:
                raise BindingRefused("the server requires an external account: set eab_kid and eab_hmac_key") from None
            raise

    def _post(self, asked: dict[str, Any], binding: tuple[str, str] | None = None) -> requests.Response:
        """POST to the resource newAccount, signed by the key itself."""

        def ask(url: str) -> requests.Response:
            payload = asked
            if binding:
                directory: Any = {"newAccount": url}
                signed = ExternalAccountBinding.from_data(self._client.public_key, *binding, directory)
                payload = {**asked, "externalAccountBinding": signed}
            return self._client.post(url, payload, None)

        return self._client.at("newAccount", ask)


def _url_of(answer: requests.Response) -> str:
    if not (url := location(answer)):
        raise UnusableAnswer("it answered without the URL of the account")
    return url


def key_from_pem(pem: str) -> Any:
    """The private key of an unencrypted PEM text. Raises ValueError."""
    return load_pem_private_key(pem.encode(), None)
