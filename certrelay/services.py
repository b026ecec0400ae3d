"""The services that everything uses: settings, storage, vaults, connectors, clock and randomness. Connected lazily."""

import functools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from certrelay.callers import Caller, allows_authority, allows_vault
from certrelay.connectors.base import Connector, Context
from certrelay.errors import NotFound, NotReady
from certrelay.redaction import protect
from certrelay.setting_models import Authority, Grant, Settings, VaultSettings
from certrelay.side_by_side import Both, both
from certrelay.storage.ledger import Ledger

if TYPE_CHECKING:
    from certrelay.keyvault.client import Vault


@dataclass(frozen=True, slots=True)
class Services:
    """`vault`: the client of a vault, by alias. `connector`: of an authority, by name. `now`: the time (UTC).

    `jitter`: randomness for back-off, and for the renewal time in a window. `caller`: on whose behalf, for an HTTP
    request; None: the app acts by itself, which it may everywhere. `both`: two requests at the same time."""

    settings: Settings
    storage: Ledger
    vault: Callable[[str], "Vault"]
    connector: Callable[[str], Connector]
    now: Callable[[], datetime]
    jitter: random.Random = field(default_factory=random.SystemRandom)
    caller: Caller | None = None
    both: Both = both

    @property
    def caller_name(self) -> str:
        """What people call the caller; empty if that is not known, or the app acts by itself."""
        return self.caller.display_name if self.caller else ""

    def authority(self, name: str) -> Authority:
        """The authority with this name. Raises NotFound, listing those that the caller may know."""
        try:
            return self.settings.authorities[name]
        except KeyError:
            raise _unknown("authority", name, self.known_authorities) from None

    def vault_settings(self, alias: str) -> VaultSettings:
        """The settings of the vault with this alias. Raises NotFound, listing those that the caller may know."""
        try:
            return self.settings.vaults[alias]
        except KeyError:
            raise _unknown("vault", alias, self.known_vaults) from None

    @property
    def known_authorities(self) -> str:
        """The names of the authorities that the caller's grants are for, for a sentence."""
        return self._known(self.settings.authorities, allows_authority)

    def knows_authority(self, name: str) -> bool:
        """Whether there is such an authority, and the caller may know of it."""
        return name in self.settings.authorities and self._allows(name, allows_authority)

    @property
    def known_vaults(self) -> str:
        """The aliases of the vaults that the caller's grants are for, for a sentence."""
        return self._known(self.settings.vaults, allows_vault)

    def _known(self, configured: Mapping[str, object], allows: Callable[[Grant, str], bool]) -> str:
        return ", ".join(sorted(name for name in configured if self._allows(name, allows))) or "none"

    def _allows(self, name: str, allows: Callable[[Grant, str], bool]) -> bool:
        return self.caller is None or any(allows(grant, name) for grant in self.caller.grants)


def connect(settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Services:
    """The real services. Vaults and connectors are created at first use, and then kept; this sends no request.

    From now on the secrets of these settings are taken out of errors, reasons and log lines (certrelay.redaction).

    The Azure SDKs take longer to import than the rest of the app. So they are imported here, by the first call that
    needs them, and not when the app starts."""
    protect(settings.secrets())
    from azure.identity import DefaultAzureCredential

    from certrelay.keyvault import client
    from certrelay.storage.tables import Account

    @functools.cache
    def credential(client_id: str | None = None) -> Any:
        options = {"managed_identity_client_id": client_id} if client_id else {}
        return DefaultAzureCredential(exclude_interactive_browser_credential=True, **options)

    @functools.cache
    def vault_named(alias: str) -> client.Vault:
        vault = settings.vaults.get(alias)
        if vault is None:  # its operations may still be open after it was removed from the settings; it may come back
            raise NotReady(f"vault {alias} is not in the settings", code="VaultNotConfigured")
        return client.connect(vault.url, credential(vault.client_id))

    @functools.cache
    def connector_named(name: str) -> Connector:
        authority = settings.authorities[name]
        context = Context(name, now, credential, ledger.memory_of(name))
        return authority.connector_class(authority.connector_settings, context)

    client_id = settings.storage.get("AzureWebJobsStorage__clientId")
    storage_credential = None if "AzureWebJobsStorage" in settings.storage else credential(client_id)
    ledger = Ledger(Account(settings.storage, storage_credential))
    return Services(settings, ledger, vault_named, connector_named, now)


def _unknown(kind: str, name: str, known: str) -> NotFound:
    return NotFound(f"there is no {kind} {name!r}; the settings have: {known}", "NotConfigured")
