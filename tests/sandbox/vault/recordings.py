"""Reads recorded traffic of the real Key Vault: what Microsoft's SDKs and the Azure CLI keep beside their tests.

Three formats: VCR cassettes (YAML, JSON), those of the JavaScript SDK of 2020 (`recordings`), and those of Azure's
test proxy (`Entries`). Recordings belong to their projects and are not kept here.
"""

import base64
import email.utils
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

_KINDS = ("certificates", "deletedcertificates", "keys", "secrets")


class _Loader(yaml.CSafeLoader):
    """YAML with the strings of Python 2, as older cassettes have them."""


_Loader.add_constructor("tag:yaml.org,2002:python/unicode", lambda _, node: str(node.value))
_Loader.add_multi_constructor("tag:yaml.org,2002:python/object", lambda *_: None)  # never a thing of interest
_VAULT = re.compile(r"vault|azure_keyvault|^Sanitized", re.IGNORECASE)


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer. `moment`: the answer's Date in UNIX seconds, later for each exchange."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any  # JSON, or None
    accept: str
    status: int
    answer: Any  # JSON, text, or None
    host: str
    moment: float

    @property
    def name(self) -> str:
        """The certificate that it is about, in lower case, or nothing."""
        parts = self.path.strip("/").split("/")
        known = len(parts) > 1 and parts[0] in _KINDS and parts[1] not in ("issuers", "contacts", "restore")
        return parts[1].lower() if known else ""

    @property
    def rest(self) -> str:
        """What follows the name in the path."""
        return "/".join(self.path.strip("/").split("/")[2:])


def read(file: Path) -> list[Exchange]:
    """What was asked of a vault's data plane, in order; empty for a file that is no recording."""
    text = file.read_text(encoding="utf-8-sig")
    recorded = yaml.load(text, _Loader) if file.suffix == ".yaml" else json.loads(text)
    found: list[Exchange] = []
    for method, url, body, accept, status, answer, date in _raw(recorded):
        parts = urlsplit(url)
        if not _VAULT.search(parts.netloc) or parts.path.strip("/").split("/")[0] not in _KINDS:
            continue
        parsed = email.utils.parsedate_to_datetime(date).timestamp() if date else 0.0
        moment = max(parsed, found[-1].moment + 0.01 if found else 0.0)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        found.append(
            Exchange(method, parts.path, query, _json(body), accept, status, _json(answer), parts.netloc, moment)
        )
    return found


def _raw(recorded: Any) -> Iterator[tuple[str, str, Any, str, int, Any, str]]:
    for item in recorded.get("interactions", []):
        request, response = item["request"], item["response"]
        headers = {key.lower(): value for key, value in response["headers"].items()}
        accept = _first({key.lower(): value for key, value in request["headers"].items()}.get("accept", ""))
        body = response["body"].get("string", response["body"])
        yield (
            request["method"], request["uri"], request["body"], accept, response["status"]["code"], body,
            _first(headers.get("date", "")),
        )  # fmt: skip
    for item in recorded.get("recordings", []):
        query = "&".join(f"{key}={value}" for key, value in item["query"].items())
        url, date = f"{item['url']}?{query}", item["responseHeaders"].get("date", "")
        yield item["method"], url, item["requestBody"], "", item["status"], item["response"], date
    for item in recorded.get("Entries", []):
        headers = {key.lower(): value for key, value in item["ResponseHeaders"].items()}
        yield (
            item["RequestMethod"], item["RequestUri"], item["RequestBody"],
            _first(item["RequestHeaders"].get("Accept", "")), item["StatusCode"], item["ResponseBody"],
            _first(headers.get("date", "")),
        )  # fmt: skip


def _first(value: Any) -> str:
    return str(value[0] if isinstance(value, list) else value)


def _json(value: Any) -> Any:
    """A body as JSON where it is some; `null` and empty bodies are None."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except ValueError:
        return value


def doubled(x5c: str) -> bool:
    """Whether an element of `x5c` is base64 of base64, as one test of the Python SDK sends it."""
    return base64.b64decode(x5c).startswith(b"MII")
