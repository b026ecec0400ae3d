"""The account at an ACME server (RFC 8555, section 7.3): found by its key, or made."""

import threading
from typing import Any

from acme.messages import ExternalAccountBinding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connectors.acme_client import AcmeClient, Problem, UnusableAnswer
from connectors.base import Context

EAB_FAULTS = ("externalAccountRequired", "malformed", "unauthorized")


class BindingRefused(Exception):
    """The external account binding is missing or wrong."""


class Account:
    """The account's URL, asked for once in a process and once more when the server has forgotten it."""

    def __init__(self, client: AcmeClient, contact: tuple[str, ...], binding: tuple[str, str] | None) -> None:
        """`binding`: key id and HMAC key in base64url (section 7.3.4)."""
        self._client, self._contact, self._binding = client, contact, binding
        self._url: str | None = None
        self._lock = threading.Lock()

    def url(self) -> str:
        """Raises BindingRefused and what AcmeClient raises."""
        with self._lock:
            if self._url is None:
                self._url = self._find() or self._make()
            return self._url

    def forget(self) -> None:
        with self._lock:
            self._url = None

    def _find(self) -> str | None:
        """Asked first where a binding is needed: some servers let each be used only once."""
        if self._binding is None:
            return None
        try:
            return self._post({"onlyReturnExisting": True})
        except Problem:
            return None

    def _make(self) -> str:
        asked: dict[str, Any] = {"termsOfServiceAgreed": True}
        if self._contact:
            asked["contact"] = [f"mailto:{address}" for address in self._contact]
        if self._binding:
            directory: Any = self._client.directory()
            asked["externalAccountBinding"] = ExternalAccountBinding.from_data(
                self._client.public_key, *self._binding, directory
            )
        try:
            return self._post(asked)
        except Problem as problem:
            if problem.code in EAB_FAULTS and self._binding:
                raise BindingRefused(f"the server refused eab_kid and eab_hmac_key: {problem.detail}") from None
            if problem.code == "externalAccountRequired":
                raise BindingRefused("the server wants an external account: set eab_kid and eab_hmac_key") from None
            raise

    def _post(self, asked: dict[str, Any]) -> str:
        answer = self._client.post(self._client.directory()["newAccount"], asked, None)
        if not (url := answer.headers.get("Location")):
            raise UnusableAnswer("it answered an account without its URL")
        return url


def key_from_pem(pem: str) -> Any:
    """Raises ValueError."""
    return load_pem_private_key(pem.encode(), None)


def key_from_vault(vault_url: str, name: str, context: Context) -> Any:
    """A key that stays in Key Vault (EC on P-256, P-384 or P-521, or RSA). Raises AzureError, ValueError."""
    from azure.keyvault.keys import KeyClient
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from connectors.key_vault_key import vault_key

    credential = context.credential()
    with KeyClient(vault_url, credential) as keys:
        found = keys.get_key(name)
    numbers: Any = found.key
    curves: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    if numbers.n:
        modulus, exponent = int.from_bytes(numbers.n), int.from_bytes(numbers.e)
        return vault_key(str(found.id), rsa.RSAPublicNumbers(exponent, modulus).public_key(), credential)
    if numbers.crv not in curves:
        raise ValueError("the account key must be RSA, or EC on P-256, P-384 or P-521")
    x, y = int.from_bytes(numbers.x), int.from_bytes(numbers.y)
    return vault_key(str(found.id), ec.EllipticCurvePublicNumbers(x, y, curves[numbers.crv]).public_key(), credential)
