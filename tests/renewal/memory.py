"""A certificate in a vault and its renewal record, both in memory: for tests of what is read and written, and when."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from certrelay.connectors.base import Feature
from certrelay.keyvault.certificate import PendingOperation
from certrelay.services import Services
from certrelay.setting_models import AuthoritySettings, Rate, Rules, Settings, VaultSettings
from certrelay.storage.operation import Operation
from certrelay.storage.renewal_record import RenewalRecord

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NEWEST, THUMBPRINT = "1" * 32, b"t" * 20


class Memory:
    """`fails`: what the next writes of this kind raise (`save`, `tags`, `policy`, `get`), in order; None: nothing."""

    def __init__(self, bundle: dict[str, Any] | None, record: RenewalRecord | None = None) -> None:
        self.bundle, self.row = bundle, record or RenewalRecord("main", "www")
        self.open: Operation | None = None
        self.history: tuple[Any, ...] = ()
        self.next_start = NOW  # by the rate of `corp`
        self.pending: PendingOperation | None = None
        self.events: list[tuple[str, Any]] = []
        self.fails: dict[str, list[Exception | None]] = {}
        self.rules = {"vault": Rules(), "corp": Rules()}

    def _event(self, kind: str, what: Any) -> None:
        self.events.append((kind, what))
        if (failing := self.fails.get(kind)) and (error := failing.pop(0)) is not None:
            raise error

    def save(self, record: RenewalRecord, known: RenewalRecord) -> None:
        assert known == self.row, "what was read, or written last"
        self._event("save", record)
        self.row = record

    def call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (method, path.removesuffix("/policy")) == ("PATCH", "/certificates/www")
        kind, what = ("policy", body) if path.endswith("/policy") else ("tags", body["tags"])
        self._event(kind, what)
        if self.bundle is not None and kind == "tags":
            self.bundle = {**self.bundle, "tags": what}
        return {"written": kind}

    def get(self, name: str) -> dict[str, Any] | None:
        self._event("get", name)
        return self.bundle

    def insert(self, operation: Operation) -> Operation:
        self._event("insert", operation)
        return operation

    @property
    def writes(self) -> list[str]:
        return [kind for kind, _ in self.events if kind != "get"]

    @property
    def services(self) -> Services:
        vault: Any = SimpleNamespace(get=self.get, call=self.call, pending=lambda _: self.pending)
        limits = SimpleNamespace(
            next_start=lambda holder, *_: self.next_start if holder == "authority corp" else NOW, reserve=lambda *_: NOW
        )
        find: Callable[..., Any] = lambda *_: self.row  # noqa: E731
        storage: Any = SimpleNamespace(
            renewals=SimpleNamespace(record=find, save=self.save, note_change=lambda *_: None), limits=limits,
            insert=self.insert, open=lambda *_: self.open, ended=lambda *_: self.history, wake_up=lambda *_: None,
        )  # fmt: skip
        known = VaultSettings(url="https://contoso.vault.azure.net", rules=self.rules["vault"])
        features: Any = SimpleNamespace(features=frozenset(Feature))
        corp: Any = SimpleNamespace(
            settings=AuthoritySettings(connector="manual", rules=self.rules["corp"], rate=Rate(requests=1, seconds=9)),
            connector_class=features,
            deadline_hours=None,
        )
        settings = Settings({"main": known}, {"corp": corp, "other": corp}, {}, {}, 10, False, "Administrator")
        unused: Any = None
        return Services(settings, storage, lambda _: vault, unused, lambda: NOW)


def bundle(left: timedelta = timedelta(days=20), **changes: Any) -> dict[str, Any]:
    """A CertificateBundle of 90 days, of which so much is left; `corp` renews it."""
    ends = NOW + left
    dates = {"nbf": (ends - timedelta(days=90)).timestamp(), "exp": ends.timestamp(), "enabled": True}
    made = {
        "id": f"https://contoso.vault.azure.net/certificates/www/{NEWEST}",
        "cer": base64.b64encode(b"certificate").decode(),
        "x5t": base64.urlsafe_b64encode(THUMBPRINT).decode().rstrip("="),
        "attributes": dates,
        "tags": {"certrelay-authority": "corp", "certrelay-validity-days": "60", "team": "web"},
        "policy": {
            "id": "https://contoso.vault.azure.net/certificates/www/policy",
            "attributes": {"enabled": True},
            "key_props": {"kty": "EC", "crv": "P-256", "key_size": 256, "exportable": True, "reuse_key": False},
            "x509_props": {"subject": "CN=www.contoso.example", "validity_months": 2, "ekus": ["1.3.6.1.5.5.7.3.1"]},
            "issuer": {"name": "Self", "cert_transparency": False},
            "lifetime_actions": [],
        },
    }
    return made | changes
