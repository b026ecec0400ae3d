"""The request that every operation takes, and the answer that it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.vault.errors import (
    KeyVaultError,
    bad_parameter,
    being_deleted,
    certificate_not_found,
    deleted_but_recoverable,
    invalid_property,
    name_of_a_key,
)
from sandbox.vault.model import Certificate
from sandbox.vault.policy import Policy, read_policy
from sandbox.vault.vault import Vault

API_VERSIONS = (
    "2016-10-01",
    "7.0-preview",
    "7.0",
    "7.1-preview",
    "7.1",
    "7.2-preview",
    "7.2",
    "7.3-preview",
    "7.3",
    "7.4-preview.1",
    "7.4",
    "7.5-preview.1",
    "7.5",
    "7.6-preview.1",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-03-01-preview",
    "2026-04-01",
)
"""Oldest first."""

MAX_TAGS = 15
MAX_TAG_LENGTH = 256


@dataclass(frozen=True)
class Call:
    """One authorised request. `base` is the address that the client used, `accept` the header of that name."""

    vault: Vault
    base: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    api_version: str = "2026-04-01"
    accept: str = ""

    @property
    def name(self) -> str:
        return self.params["name"]

    def speaks(self, since: str) -> bool:
        """Whether the request's API version is `since` or newer."""
        return API_VERSIONS.index(self.api_version) >= API_VERSIONS.index(since)

    def read_policy(self, raw: object) -> Policy:
        """The policy in `raw`, without members that the API version does not know. Raises 400."""
        policy = read_policy(raw)
        if not self.speaks("2026-03-01-preview"):
            policy.pop("platformManaged", None)
        return self.known_names(policy)

    def known_names(self, policy: Policy) -> Policy:
        """The policy without the kinds of names that the API version does not know."""
        props = policy.get("x509_props", {})
        if "sans" not in props or self.speaks("2025-06-01-preview"):
            return policy
        sans = {kind: names for kind, names in props["sans"].items() if kind not in ("uris", "ipAddresses")}
        return {**policy, "x509_props": {**props, "sans": sans}}

    def live(self) -> Certificate | None:
        """The certificate in the path; None if it is not there or deleted."""
        found = self.vault.find(self.name)
        return None if found is None or found.deletion else found

    def certificate(self) -> Certificate:
        """The live certificate in the path. Raises 404."""
        found = self.live()
        if found is None:
            raise certificate_not_found(self.name, self.params.get("version"))
        return found

    def free_name(self, kind: str = "Certificate") -> Certificate | None:
        """The live certificate of this name, or None. Raises 409 if a deleted certificate holds the name, also as that
        of its key (`kind` is `Key`), or if a key that belongs to no certificate keeps a certificate from it."""
        found = self.vault.find(self.name)
        if found and found.deletion:
            if self.vault.clock.now() < found.deletion.visible:
                raise being_deleted(found.name, " and cannot be re-created; retry later", kind)
            raise deleted_but_recoverable(found.name, kind)
        if kind == "Certificate" and self.vault.document("key", self.name.lower()):
            raise name_of_a_key(self.name)
        return found

    def tags(self) -> dict[str, str] | None:
        """The body's tags, or None if it has none. Raises 400."""
        tags = self.body.get("tags")
        if tags is None:
            return None
        if (
            not isinstance(tags, dict)
            or len(tags) > MAX_TAGS
            or not all(isinstance(value, str) for value in tags.values())
            or any(len(text) > MAX_TAG_LENGTH for pair in tags.items() for text in pair)
        ):
            raise invalid_property("")  # the service leaves the property's name empty here
        return tags

    def enabled(self) -> bool | None:
        """`attributes.enabled`, or None if it was not sent. Raises 400."""
        attributes = self.body.get("attributes")
        if attributes is None:
            return None
        enabled = attributes.get("enabled") if isinstance(attributes, dict) else attributes
        if not isinstance(enabled, bool | None):
            raise invalid_property("attributes")
        return enabled

    def flag(self, name: str) -> bool | None:
        """A boolean member of the body, or None if it was not sent. Raises 400."""
        value = self.body.get(name)
        if not isinstance(value, bool | None):
            raise invalid_property(name)
        return value

    def text(self, name: str) -> str | None:
        """A text member of the body, or None if it was not sent. Raises 400."""
        value = self.body.get(name)
        if not isinstance(value, str | None):
            raise invalid_property(name)
        return value

    def page_size(self) -> int:
        """`maxresults`, 1 to 25. Raises 400."""
        text = self.query.get("maxresults", "")
        if not text:
            return 25
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= 25:
            raise bad_parameter(f"Invalid maxresults: {text[:40]}. It must be between 1 and 25.")
        return int(text)


@dataclass(frozen=True)
class Answer:
    """Status, body (an object is sent as JSON, a text as it is, None is empty) and further headers."""

    body: Mapping[str, Any] | str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]

__all__ = ["Answer", "Call", "Handler", "KeyVaultError"]
