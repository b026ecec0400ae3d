"""An ACME server of the tests' own that speaks draft-ietf-acme-dns-persist-02: no real one is known that does.

Its hash is computed here, apart from the connector's, and it reads the records from a real DNS server.
"""

import base64
import hashlib
import json
import time
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
from josepy.jwk import JWK

from tests.connectors.acme.acme_proxy import Answer
from tests.connectors.acme.acme_server import AcmeServer, Request

ISSUER = "persist.example"


class PersistServer(AcmeServer):
    """`meta` and `challenge` may be changed; `with_dns_01` offers that as well."""

    def __init__(self, dns_port: int) -> None:
        super().__init__()
        self.dns_port, self.with_dns_01 = dns_port, True
        self.extra_meta: dict[str, Any] = {}
        self.challenge: dict[str, Any] = {"issuerDomainNames": [ISSUER]}
        self.failed: set[tuple[int, int]] = set()
        self.accepts = True

    @property
    def prefix_of_hashes(self) -> str:
        return f"{self.origin}/acme/account-hash/"

    def _answer(self, request: Request) -> Answer:
        if request.target.startswith(f"{self.prefix}/persist/"):
            answer = Answer(request.target, 404, b"")
            number, index = map(int, request.target.split("/")[-2:])
            self._validate(number, index, request)
            answer.say({"status": "valid"}, 200)
            return answer
        answer = super()._answer(request)
        if request.target == self.directory_target:
            meta = {"accountHashPrefix": self.prefix_of_hashes, "issuerDomainNames": [ISSUER], **self.extra_meta}
            answer.say({**answer.document, "meta": {name: one for name, one in meta.items() if one is not None}})
        return answer

    def _order(self, number: int) -> dict[str, Any]:
        document = super()._order(number)
        return {**document, "status": "invalid"} if any(one == number for one, _ in self.failed) else document

    def _authorization(self, number: int, index: int) -> dict[str, Any]:
        document = super()._authorization(number, index)
        name = document["identifier"]["value"]
        document |= {"identifier": {"type": "dns", "value": name.removeprefix("*.")}, "wildcard": name.startswith("*.")}
        status = "invalid" if (number, index) in self.failed else document["status"]
        persist = {"type": "dns-persist-01", "url": self.url("persist", number, index), "status": status}
        if status == "invalid":
            persist["error"] = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "no matching record"}
        others = document["challenges"] if self.with_dns_01 else []
        return {**document, "status": status, "challenges": [{**persist, **self.challenge}, *others]}

    def _validate(self, number: int, index: int, request: Request) -> None:
        name = self.orders[number].identifiers[index]["value"]
        texts = self.texts(f"_validation-persist.{name.removeprefix('*.')}") if self.accepts else []
        if any(self._proves(text, name, request.account) for text in texts):
            self.orders[number].answered.add(index)
        else:
            self.failed.add((number, index))

    def texts(self, name: str) -> list[str]:
        answer = dns.query.udp(dns.message.make_query(name, dns.rdatatype.TXT), "127.0.0.1", 5, self.dns_port)
        return [b"".join(one.strings).decode() for rrset in answer.answer for one in rrset]

    def _proves(self, text: str, name: str, account: str) -> bool:
        issuer, *parts = [part.strip() for part in text.split(";")]
        values = dict(part.split("=", 1) for part in parts)
        hashed = {self.hashed(one, account) for one in (name.removeprefix("*."), "*")}
        wildcard = not name.startswith("*.") or values.get("policy") == "wildcard"
        lasting = float(values.get("persistUntil", "inf")) > time.time()
        return issuer == ISSUER and values.get("accounturi") in hashed and wildcard and lasting

    def hashed(self, name: str, account: str) -> str:
        key: Any = JWK.from_json(json.loads(list(self.accounts)[int(account.rsplit("/", 1)[1])]))
        thumbprint = base64.urlsafe_b64encode(key.thumbprint()).decode().rstrip("=")
        digest = hashlib.sha256(bytes([len(name)]) + name.encode() + thumbprint.encode() + account.encode()).digest()
        return f"{self.prefix_of_hashes}sha-256/{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
