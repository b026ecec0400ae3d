"""A deployment that people, services and teams share: Microsoft Entra ID names the callers, and grants narrow them."""

import base64
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from azure.data.tables import TableServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.callers import FUNCTION_KEY
from certrelay.connectors.base import Context, SigningRequest
from certrelay.pki.subject import SubjectNames
from tests.app import App, until
from tests.pki.builders import ec_key
from tests.world import TestCa

EC = {"key_props": {"kty": "EC", "crv": "P-256"}}
DOMAIN = "contoso.example"
GROUP_A = "a0000000-0000-4000-8000-00000000000f"


def guid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


@dataclass(frozen=True)
class Person:
    """What Entra ID says of a caller."""

    id: str
    role: str = ""
    claims: tuple[tuple[str, str], ...] = ()

    @property
    def header(self) -> str:
        claims = [("oid", self.id), *self.claims, *([("roles", f"CertRelay.{self.role}")] if self.role else [])]
        written = {"auth_typ": "aad", "claims": [{"typ": kind, "val": value} for kind, value in claims]}
        return base64.b64encode(json.dumps(written).encode()).decode()


READER, ALICE, BOB = Person(guid(1), "Reader"), Person(guid(2), "Requester"), Person(guid(3), "Requester")
OPERATOR, ADMINISTRATOR = Person(guid(4), "Operator"), Person(guid(5), "Administrator")
TEAM_A, TEAM_B = Person(guid(6)), Person(guid(7))
A_OPERATOR = Person(guid(8), claims=(("groups", GROUP_A.upper()),))
MAIN_ADMINISTRATOR, A_ADMINISTRATOR, OTHER_ADMINISTRATOR = Person(guid(9)), Person(guid(10)), Person(guid(11))
SERVICE = Person(guid(12), claims=(("azp", guid(13)), ("sub", guid(12)), ("idtyp", "app")))
ITS_USER = Person(guid(14), claims=(("azp", guid(13)), ("sub", "pairwise"), ("scp", "user_impersonation")))
CROWDED = Person(guid(15), claims=(("_claim_names", '{"groups":"src1"}'),))
NOBODY = Person(guid(16))

_TEAM_A = {"vaults": ["main"], "certificates": ["a-*"], "subjects": [f"*.a.{DOMAIN}", f"*@a.{DOMAIN}"]}
GRANTS = [
    *({"principal": role, "role": role} for role in ("Reader", "Requester", "Operator", "Administrator")),
    {"principal": TEAM_A.id, "role": "Requester", "authorities": ["openbao", "by-hand"], **_TEAM_A},
    {"principal": TEAM_B.id, "role": "Requester", "vaults": ["main"], "certificates": ["b-*"],
     "authorities": ["Self"], "subjects": [f"*.b.{DOMAIN}"]},
    {"principal": GROUP_A, "role": "Operator", "authorities": ["openbao", "by-hand"], **_TEAM_A},
    {"principal": MAIN_ADMINISTRATOR.id, "role": "Administrator", "vaults": ["main"]},
    {"principal": A_ADMINISTRATOR.id, "role": "Administrator", "vaults": ["main"], "certificates": ["a-*"]},
    {"principal": OTHER_ADMINISTRATOR.id, "role": "Administrator", "vaults": ["other"]},
    {"principal": guid(13), "role": "Requester", "certificates": ["s-*"]},
]  # fmt: skip


@dataclass
class Shared:
    """The running app, and who calls it."""

    app: App
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def name(self, prefix: str = "team") -> str:
        return f"{prefix}-{next(self._numbers)}"

    def call(self, who: Person | None, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"x-ms-client-principal": who.header} if who else {}
        return self.app.client.request(method, self.app.settings["APP_URL"] + path, json=body, headers=headers)

    def of(self, who: Person | None, name: str, rest: str = "", method: str = "GET", body: Any = None) -> Any:
        return self.call(who, method, f"/api/vaults/main/certificates/{name}{rest}", body)

    def create(self, who: Person, name: str, *hosts: str, **body: Any) -> httpx.Response:
        names = {"dns_names": hosts or [f"{name}.{DOMAIN}"]}
        answer: httpx.Response = self.of(
            who, name, "/create", "POST", {"authority": "openbao", "policy": EC} | names | body
        )
        return answer

    def made(self, who: Person, *hosts: str, prefix: str = "team", **body: Any) -> str:
        """A new certificate, issued."""
        name = self.name(prefix)
        assert self.create(who, name, *hosts, **body).status_code == 202
        self.settled(name)
        assert self.of(ADMINISTRATOR, name).status_code == 200
        return name

    def signed_by_hand(self, name: str) -> str:
        """The certificate, with its chain, that a CA makes for the CSR that waits for one. PEM."""
        until(lambda: self.of(ADMINISTRATOR, name, "/pending").json()["step"] == "submitted")
        csr = self.of(ADMINISTRATOR, name, "/pending/csr").content
        ca = TestCa(None, Context("by-hand", lambda: datetime.now(UTC), lambda: None))
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        return ca.signed(SigningRequest("by-hand", csr, SubjectNames(), ends)).decode()

    def settled(self, name: str) -> None:
        until(lambda: self.of(ADMINISTRATOR, name, "/pending").json()["status"] != "inProgress")
        until(lambda: not self.app.is_open(name))

    def owner(self, name: str) -> str | None:
        """The owner in the table, whatever the API says."""
        with self._tables() as tables:
            rows = {row["RowKey"]: row for row in tables.get_table_client("owners").list_entities()}
        return str(rows[name.lower()]["owner"]) if name.lower() in rows else None

    def forget_owner(self, name: str) -> None:
        """As if it had been made before there were owners, or the tables had been lost."""
        with self._tables() as tables:
            tables.get_table_client("owners").delete_entity("main", name.lower())

    def _tables(self) -> TableServiceClient:
        return TableServiceClient.from_connection_string(self.app.settings["STORAGE_CONNECTION_STRING"])


def pem(
    *names: x509.GeneralName | str, subject: x509.Name | None = None, now: datetime | None = None
) -> dict[str, str]:
    """The body of an import: a new key and its own certificate, with these names, made at `now`."""
    key = ec_key()
    general = [x509.DNSName(name) if isinstance(name, str) else name for name in names]
    now = now or datetime.now(UTC)
    built = x509.CertificateBuilder(subject or x509.Name([]), subject or x509.Name([]), key.public_key(), 7)
    built = built.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=30))
    built = built.add_extension(x509.SubjectAlternativeName(general), critical=not subject)
    built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    certificate = built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    return {"key": written, "certificate": certificate}


def refused(answer: httpx.Response, code: str, status: int = 403) -> str:
    """The sentence of a refusal with this code, which names nobody."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    detail: str = answer.json()["detail"]
    assert guid(0)[:-2] not in detail, "whose it is, is not for everybody"
    assert FUNCTION_KEY not in detail
    return detail
