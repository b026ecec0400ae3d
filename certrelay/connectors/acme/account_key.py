"""The key of an ACME account in Key Vault: created at first use, and rolled over (RFC 8555, section 7.3.5).

The account's version is not recorded: it is the oldest one that the authority has an account for or, before there is an
account, the oldest. So workers that make the key at the same time agree, and a rollover that was cut
off at any line is found as far as it came. https://learn.microsoft.com/rest/api/keyvault/keys
"""

import logging
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.keyvault.keys import KeyClient, KeyProperties
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certrelay.connectors.base import Context
from certrelay.keyvault.remote_key import CLIENT_OPTIONS, Key, vault_key

CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}

log = logging.getLogger("certrelay.acme")


class KeyRefused(Exception):
    """Key Vault does not let the app use the key, or an account cannot have such a key. The text is one clause."""


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version of the key: its `kid`, and a private key that signs in Key Vault."""

    id: str
    key: Key


class AccountKey:
    """The versions of one key. All methods raise KeyRefused and AzureError."""

    def __init__(self, vault_url: str, name: str, context: Context) -> None:
        self._url, self._name, self._credential = vault_url, name, context.credential()

    def versions(self) -> list[KeyVersion]:
        """The enabled versions, oldest first. Creates the key if it does not exist."""
        with KeyClient(self._url, self._credential, **CLIENT_OPTIONS) as keys:
            found = self._versions(keys)
            if found is None:
                self._create(keys)
                found = self._versions(keys)
            if not found:
                raise KeyRefused(f"every version of the account key {self._name} is disabled")
            return found

    def newer_than(self, version: KeyVersion) -> list[KeyVersion]:
        """The versions that were created after this one, for example by an interrupted rollover."""
        every = self.versions()
        known = [one.id for one in every]
        return every[known.index(version.id) + 1 :] if version.id in known else []

    def make(self) -> KeyVersion:
        """Create a new version."""
        with KeyClient(self._url, self._credential, **CLIENT_OPTIONS) as keys:
            return self._version(keys, self._create(keys))

    def disable_before(self, version: KeyVersion) -> None:
        """Disable all earlier versions, which are not used any more; best effort."""
        try:
            with KeyClient(self._url, self._credential, **CLIENT_OPTIONS) as keys:
                for one in self._properties(keys):
                    if one.id == version.id:
                        return
                    if one.enabled:
                        keys.update_key_properties(self._name, one.version, enabled=False)
        except AzureError as error:
            log.warning(
                "an older version of the account key %s could not be disabled (%s)", self._name, type(error).__name__
            )

    def _create(self, keys: KeyClient) -> KeyProperties:
        try:
            return keys.create_ec_key(self._name, curve="P-256", key_operations=["sign", "verify"]).properties
        except HttpResponseError as error:
            raise self._refused(error, "make") from None

    def _versions(self, keys: KeyClient) -> list[KeyVersion] | None:
        """The enabled versions; None if the key does not exist."""
        try:
            every = self._properties(keys)
            return [self._version(keys, one) for one in every if one.enabled] if every else None
        except ResourceNotFoundError:
            return None
        except HttpResponseError as error:
            raise self._refused(error, "read") from None

    def _properties(self, keys: KeyClient) -> list[KeyProperties]:
        found = keys.list_properties_of_key_versions(self._name)
        return sorted(found, key=lambda one: (one.created_on is None, one.created_on, one.version))

    def _version(self, keys: KeyClient, properties: KeyProperties) -> KeyVersion:
        found = keys.get_key(self._name, properties.version)
        identifier = str(found.id)
        return KeyVersion(identifier, vault_key(identifier, _public_key(found.key), self._credential, **CLIENT_OPTIONS))

    def _refused(self, error: HttpResponseError, what: str) -> Exception:
        if error.status_code not in (401, 403) or isinstance(error, ClientAuthenticationError):
            return error
        return KeyRefused(
            f"Key Vault does not let the app {what} the account key {self._name}: it needs the role Key Vault Crypto "
            "Officer, or, once the key is there, Key Vault Crypto User"
        )


def _public_key(numbers: Any) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    if numbers.n:
        return rsa.RSAPublicNumbers(int.from_bytes(numbers.e), int.from_bytes(numbers.n)).public_key()
    if numbers.crv not in CURVES:
        raise KeyRefused("the account key must be RSA, or EC on P-256, P-384 or P-521")
    x, y = int.from_bytes(numbers.x), int.from_bytes(numbers.y)
    return ec.EllipticCurvePublicNumbers(x, y, CURVES[numbers.crv]).public_key()
