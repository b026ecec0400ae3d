"""Every request gets an answer in Key Vault's form, never a 500."""

import base64
import json
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.vault import VaultServer
from sandbox.vault.routes import ROUTES
from tests.examples import examples
from tests.sandbox.vault.support import Authority, Rest

FAST = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def is_proper(answer: requests.Response) -> bool:
    """A success, or an error in Key Vault's form; and no server error."""
    if answer.status_code < 400:
        return True
    error = answer.json()["error"]
    return answer.status_code < 500 and bool(error["code"]) and isinstance(error["message"], str)


def mixed(*values: Any) -> st.SearchStrategy[Any]:
    """A sensible value, or arbitrary JSON."""
    return st.sampled_from(values) | JSON


POLICY = st.fixed_dictionaries(
    {},
    optional={
        "key_props": mixed({"kty": "EC", "crv": "P-256"}, {"kty": "EC", "key_size": 1})
        | st.fixed_dictionaries(
            {"kty": mixed("EC", "EC-HSM", "oct")},
            optional={"key_size": mixed(256, 384, -1), "crv": mixed("P-256", "x"), "exportable": mixed(True)},
        ),
        "secret_props": st.fixed_dictionaries({"contentType": mixed("application/x-pem-file")}) | JSON,
        "x509_props": st.fixed_dictionaries(
            {"subject": mixed("CN=a", 'O="a,b"; CN=c', "CN=a+O=b", "C=Germany", "OID.1.2.3=x", "1.2=x", "=", '"')},
            optional={
                "sans": st.fixed_dictionaries(
                    {},
                    optional={
                        kind: st.lists(st.text(max_size=10), max_size=2) | JSON
                        for kind in ("emails", "dns_names", "upns", "uris", "ipAddresses")
                    },
                )
                | JSON,
                "ekus": st.lists(mixed("1.2.3", "1", "2.999.1"), max_size=2) | JSON,
                "key_usage": st.lists(mixed("digitalSignature", "CRLSIGN"), max_size=2) | JSON,
                "validity_months": mixed(1, 1200, 1201),
            },
        )
        | JSON,
        "lifetime_actions": mixed([], [{}], [{"trigger": {}, "action": {}}]),
        "issuer": st.fixed_dictionaries({"name": mixed("Self", "unknown", "PlatformManaged", "")}) | JSON,
        "attributes": JSON,
        "platformManaged": mixed({"certificateUsage": "x"}),
    },
)


@pytest.mark.slow
@FAST
@given(policy=POLICY | JSON, tags=JSON, attributes=JSON, preserve=JSON)
def test_any_policy_gets_an_answer(
    rest: Rest, server: VaultServer, policy: Any, tags: Any, attributes: Any, preserve: Any
) -> None:
    body = {"policy": policy, "tags": tags, "attributes": attributes, "preserveCertOrder": preserve}
    answer = rest("POST", "/certificates/fuzz/create", data=json.dumps(body))
    assert is_proper(answer), (body, answer.text)
    if answer.status_code == 202:
        assert is_proper(rest("PATCH", "/certificates/fuzz/policy", data=json.dumps(policy)))
        assert is_proper(rest("DELETE", "/certificates/fuzz"))
        assert is_proper(rest("DELETE", "/deletedcertificates/fuzz"))


@FAST
@given(route=st.sampled_from(ROUTES), body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_for_any_operation_gets_an_answer(rest: Rest, route: Any, body: bytes) -> None:
    names = {"{name}": "fuzz-any", "{version}": "0" * 32, "{issuer}": "fuzz-issuer"}
    path = "/" + "/".join(names.get(part, part) for part in route.path)
    answer = rest(route.method, path, data=body)
    assert is_proper(answer) if answer.content else answer.status_code == 204


@pytest.mark.slow
@FAST
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"]),
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    start=st.sampled_from(["", "certificates/", "certificates/a/", "secrets/", "keys/a/", "deletedcertificates/"]),
)
def test_any_path_gets_an_answer(server: VaultServer, method: str, path: str, start: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(server.ca_bundle)
        session.headers["Authorization"] = f"Bearer {server.identities.token(server.resource)}"
        answer = session.request(method, f"{server.url}/{start}{path}", timeout=60)
    assert answer.status_code < 500
    if answer.status_code >= 400 and answer.content:
        assert answer.json()["error"]["code"]


@pytest.mark.slow
@FAST
@given(data=st.binary(max_size=200), where=st.integers(0, 400), pem=st.booleans())
def test_broken_der_and_pem_get_an_answer(rest: Rest, authority: Authority, data: bytes, where: int, pem: bool) -> None:
    whole = authority.root.public_bytes(Encoding.PEM if pem else Encoding.DER)
    broken = whole[:where] + data + whole[where + len(data) :]
    value = base64.b64encode(broken).decode()
    for content_type in ("application/x-pem-file", "application/x-pkcs12"):
        body = {"value": value, "policy": {"secret_props": {"contentType": content_type}}}
        assert is_proper(rest("POST", "/certificates/fuzz-import/import", json=body))
    policy = {"key_props": {"kty": "EC"}, "x509_props": {"subject": "CN=a"}}
    rest("POST", "/certificates/fuzz-merge/create", json={"policy": policy})
    assert is_proper(rest("POST", "/certificates/fuzz-merge/pending/merge", json={"x5c": [value]}))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"\xff\xfe{}", 400),
        (b'{"policy": NaN}', 400),
        (b'{"policy": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
        (b'{"policy": {"x509_props": {"validity_months": ' + b"9" * 10_000 + b"}}}", 400),
        (b'{"policy": {"x509_props": {"subject": "CN=\\ud800"}}}', 400),
        (b'{"policy": {"x509_props": {"subject": "CN=\\u0000"}}}', 202),
        (b" " * 600_000, 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bodies_that_are_no_json_object_are_refused(rest: Rest, body: bytes, status: int, name: str) -> None:
    answer = rest("POST", f"/certificates/{name}/create", data=body)
    assert answer.status_code == status, answer.text
    assert is_proper(answer)


def test_a_certificate_with_strange_contents_is_no_server_error(rest: Rest, authority: Authority, name: str) -> None:
    whole = authority.root.public_bytes(Encoding.DER)
    assert x509.load_der_x509_certificate(whole)
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 0x55
        policy = {"key_props": {"kty": "EC"}, "x509_props": {"subject": "CN=a"}}
        rest("POST", f"/certificates/{name}/create", json={"policy": policy})
        value = base64.b64encode(bytes(changed)).decode()
        assert is_proper(rest("POST", f"/certificates/{name}/pending/merge", json={"x5c": [value]}))
