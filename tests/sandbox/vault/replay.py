"""Replays recorded traffic of the real Key Vault against a sandbox vault, and says where the answers differ.

The clock stands at the recorded moment of each request, and an operation takes as long as it took then: as long as
the recording shows it unfinished, and no longer than until it shows it finished. What the service chose (identifiers,
requests, backups) is replaced by what the sandbox chose for the same thing.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sandbox.vault import VaultServer
from tests.sandbox.vault.recordings import Exchange, doubled
from tests.sandbox.vault.support import certify

FOREVER = 10 * 365 * 86400.0
# Members that the service chooses, or that hold a moment.
_CHOSEN = {
    "id", "kid", "sid", "x5t", "cer", "csr", "created", "updated", "nbf", "exp", "request_id", "nextLink",
    "deletedDate", "scheduledPurgeDate", "recoveryId", "value", "target", "n", "x", "y", "iat",
}  # fmt: skip
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")


@dataclass
class Tally:
    """What was compared. `statuses` and `keys`: how many of how many agreed; `differences`: the
    others, in words. `left_out`: what the sandbox does not have, as docs/sandbox.md says."""

    statuses: list[int] = field(default_factory=lambda: [0, 0])
    keys: list[int] = field(default_factory=lambda: [0, 0])
    values: list[int] = field(default_factory=lambda: [0, 0])
    differences: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count another recording's too."""
        for mine, theirs in ((self.statuses, other.statuses), (self.keys, other.keys), (self.values, other.values)):
            mine[0] += theirs[0]
            mine[1] += theirs[1]
        self.differences += other.differences
        self.left_out += other.left_out


class Replay:
    """One recording against one fresh vault."""

    def __init__(self, server: VaultServer, exchanges: list[Exchange]) -> None:
        self._server = server
        self._exchanges = exchanges
        self._known: dict[str, str] = {}  # what the service chose, and what the sandbox did
        self._csr: dict[str, bytes] = {}
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(server.ca_bundle)
        self._token = f"Bearer {server.identities.token(server.resource)}"
        self.tally = Tally()

    def run(self) -> Tally:
        """Send every request at its moment."""
        with self._session:
            for number, exchange in enumerate(self._exchanges):
                if _without_soft_delete(exchange):
                    self.tally.left_out.append(f"{number} and later: the vault had no soft delete")
                    break
                self._server.clock.set(exchange.moment)
                self._set_delays(exchange, self._exchanges[number + 1 :])
                self._compare(number, exchange, self._send(exchange))
        return self.tally

    # -- time -----------------------------------------------------------------------------------------------------

    def _set_delays(self, exchange: Exchange, later: list[Exchange]) -> None:
        if exchange.status == 401 or (exchange.method, exchange.rest) not in _SIGNS:
            return
        settings, taken = self._server.settings, _taken(exchange, later)
        if exchange.rest == "create":
            settings.self_delay = settings.partnered_delay = taken
        elif exchange.rest == "pending":
            settings.cancel_delay = taken
        elif exchange.rest == "recover":
            settings.recover_delay = taken
        elif exchange.path.startswith("/deletedcertificates"):
            settings.purge_delay = taken
        else:
            settings.delete_delay = taken

    # -- one request ----------------------------------------------------------------------------------------------

    def _send(self, exchange: Exchange) -> requests.Response:
        headers = {"Accept": exchange.accept or "application/json"}
        if exchange.status != 401:
            headers["Authorization"] = self._token
        query = {key: self._ours(value) for key, value in exchange.query.items()}
        body = None if exchange.body is None else json.loads(self._ours(json.dumps(exchange.body)))
        if exchange.rest == "pending/merge" and body and exchange.status == 201:
            body["x5c"] = self._signed(exchange, body["x5c"])
        return self._session.request(
            exchange.method,
            f"{self._server.url}{self._ours(exchange.path)}",
            params=query,
            json=body,
            headers=headers,
            timeout=60,
            allow_redirects=False,
        )

    def _ours(self, text: str) -> str:
        text = text.replace(f"https://{self._exchanges[0].host}", self._server.url)
        if text in self._known:
            return self._known[text]
        for theirs in _IDENTIFIER.findall(text):
            text = text.replace(theirs, self._known.get(theirs, theirs))
        for theirs, ours in self._known.items():
            if len(theirs) > 32:  # a backup, a token of a page
                text = text.replace(theirs, ours)
        return text

    def _signed(self, exchange: Exchange, x5c: list[str]) -> list[str]:
        """A chain like the recorded one, for the sandbox's key."""
        now = self._server.clock.now()
        key = ec.generate_private_key(ec.SECP256R1())
        begin = datetime.fromtimestamp(now, UTC)
        valid = begin, begin + timedelta(days=60)
        request = x509.load_der_x509_csr(self._csr[exchange.name])
        leaf = certify("leaf", request.public_key(), "issuer", key, valid).public_bytes(Encoding.DER)
        others = [certify("issuer", key.public_key(), "issuer", key, valid).public_bytes(Encoding.DER) for _ in x5c[1:]]
        once = [base64.b64encode(item).decode() for item in (leaf, *others)]
        return [base64.b64encode(item.encode()).decode() for item in once] if doubled(x5c[0]) else once

    # -- one answer -----------------------------------------------------------------------------------------------

    def _compare(self, number: int, exchange: Exchange, response: requests.Response) -> None:
        ours = _json(response)
        label = f"{number} {exchange.method} {exchange.path}"
        if isinstance(ours, dict) and ours.get("error", {}).get("code") == "NotSupported":
            self.tally.left_out.append(label)
            return
        agreed = exchange.status == response.status_code
        self.tally.statuses[0] += agreed
        self.tally.statuses[1] += 1
        if not agreed:
            self.tally.differences.append(f"{label}: {exchange.status}, here {response.status_code} {str(ours)[:300]}")
            return
        if isinstance(ours, dict) and "csr" in ours:
            self._csr[exchange.name] = base64.b64decode(ours["csr"])
        self._learn(exchange.answer, ours)
        theirs_flat, ours_flat = dict(_flat(exchange.answer)), dict(_flat(ours))
        for key in sorted(theirs_flat.keys() | ours_flat.keys()):
            both = key in theirs_flat and key in ours_flat
            self.tally.keys[0] += both
            self.tally.keys[1] += 1
            if not both:
                where = "missing here" if key in theirs_flat else "only here"
                value = theirs_flat.get(key, ours_flat.get(key))
                self.tally.differences.append(f"{label}: key {key} {where}: {str(value)[:100]}")
            elif key.rsplit(".", 1)[-1] not in _CHOSEN and not key.endswith("[]"):
                same = self._ours(json.dumps(theirs_flat[key])) == json.dumps(ours_flat[key])
                self.tally.values[0] += same
                self.tally.values[1] += 1
                if not same:
                    found = f"{str(theirs_flat[key])[:300]!r}, here {str(ours_flat[key])[:300]!r}"
                    self.tally.differences.append(f"{label}: value {key}: {found}")

    def _learn(self, theirs: Any, ours: Any) -> None:
        """Pair what each side chose for the same thing."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for key in theirs.keys() & ours.keys():
                self._learn(theirs[key], ours[key])
        elif isinstance(theirs, list) and isinstance(ours, list):
            for one, other in zip(theirs, ours, strict=False):
                self._learn(one, other)
        elif isinstance(theirs, str) and isinstance(ours, str):
            self._known |= dict(zip(_IDENTIFIER.findall(theirs), _IDENTIFIER.findall(ours), strict=False))
            skip = r"skiptoken=([^&]+)"
            found = zip(re.findall(skip, theirs), re.findall(skip, ours), strict=False)
            self._known |= {unquote(one): unquote(other) for one, other in found}
            if len(theirs) > 500:
                self._known[theirs] = ours


def _without_soft_delete(exchange: Exchange) -> bool:
    """Whether a deletion was final at once, as in vaults that Azure no longer makes."""
    deleted = (exchange.method, exchange.rest, exchange.status) == ("DELETE", "", 200)
    return deleted and exchange.path.startswith("/certificates") and "recoveryId" not in exchange.answer


def _taken(exchange: Exchange, later: list[Exchange]) -> float:
    """The seconds that it took: between the last sign that it goes on and the first that it has ended."""
    purge = exchange.method == "DELETE" and exchange.path.startswith("/deletedcertificates")
    sign, never = (_purged, 0.0) if purge else _SIGNS[exchange.method, exchange.rest]
    begun = exchange.moment
    for other in later:
        if other.name not in (exchange.name, "") or other.status == 401:
            continue
        ended = sign(other)
        if ended:
            return (begun + other.moment) / 2 - exchange.moment
        if ended is False:
            begun = other.moment
        if other.name and (other.rest in ("create", "import") or (other.method, other.rest) == ("DELETE", "")):
            break
    # Moments are whole seconds, and the clock runs on: it ends between the last look and the next second's requests.
    return max(never, begun + 0.5 - exchange.moment) if begun > exchange.moment else never


def _status(exchange: Exchange) -> str:
    """The status of a pending operation, or nothing."""
    asked = exchange.rest == "pending" and isinstance(exchange.answer, dict)
    return str(exchange.answer.get("status", "")).lower() if asked else ""


def _completed(exchange: Exchange) -> bool | None:
    if not exchange.rest and isinstance(exchange.answer, dict) and "x5t" in exchange.answer:
        return True
    return {"completed": True, "failed": True, "inprogress": False, "cancelled": False}.get(_status(exchange))


def _canceled(exchange: Exchange) -> bool | None:
    return {"cancelled": True, "inprogress": False}.get(_status(exchange))


def _deleted(exchange: Exchange) -> bool | None:
    if not exchange.path.startswith("/deletedcertificates"):
        return None
    return exchange.status < 400


def _recovered(exchange: Exchange) -> bool | None:
    asked = exchange.method == "GET" and exchange.path.startswith("/certificates")
    return exchange.status < 400 if asked else None


def _purged(exchange: Exchange) -> bool | None:
    restored = exchange.path == "/certificates/restore"
    return exchange.status < 400 if restored else None


# The sign that it goes on (False) or has ended (True), and how long it takes where the recording shows no end.
_SIGNS: Mapping[tuple[str, str], tuple[Callable[[Exchange], bool | None], float]] = {
    ("POST", "create"): (_completed, FOREVER),
    ("PATCH", "pending"): (_canceled, FOREVER),
    ("DELETE", ""): (_deleted, 0.0),
    ("POST", "recover"): (_recovered, 0.0),
}


def _json(response: requests.Response) -> Any:
    try:
        return response.json() if response.content else None
    except ValueError:
        return response.text


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its path; the items of lists of objects share one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}")
        if not value:
            yield path, {}
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for item in value:
            yield from _flat(item, f"{path}[]")
    elif value is not None or path:
        yield path, value
