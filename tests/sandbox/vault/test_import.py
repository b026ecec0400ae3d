"""Import of PFX and PEM, and the policy that is derived."""

import base64
import datetime
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import pkcs12 as pkcs12_structure
from asn1crypto.keys import EncryptedPrivateKeyInfo
from azure.keyvault.certificates import CertificateClient, CertificateContentType, CertificatePolicy
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, pkcs12

from sandbox.vault.pfx import write_pfx
from sandbox.vault.pfx_order import certificate_order
from tests.rsa_keys import rsa_key_of_known_primes
from tests.sandbox.vault.support import Authority, Rest, certify, openssl, properties, self_signed, validity

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> x509.Certificate:
    return certify("imported.example", KEY.public_key(), "intermediate", authority.key)


def pfx(leaf: x509.Certificate, *chain: x509.Certificate, key: Any = KEY, password: str = "") -> bytes:
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"alias", key, leaf, chain, encryption)


def pem(*certificates: x509.Certificate, key: Any = KEY, form: str = "PKCS8", password: str = "") -> bytes:
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    block: bytes = key.private_bytes(Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption)
    return b"".join(item.public_bytes(Encoding.PEM) for item in certificates) + block


def body(data: bytes, content_type: str | None = None, **members: Any) -> dict[str, Any]:
    policy = {"secret_props": {"contentType": content_type}} if content_type else {}
    return {"value": base64.b64encode(data).decode(), "policy": policy, **members}


PEM_POLICY = CertificatePolicy(issuer_name="Unknown", subject="CN=ignored", content_type=CertificateContentType.pem)
PEM = "application/x-pem-file"


def test_a_pfx_with_a_password_is_imported(client: CertificateClient, leaf: x509.Certificate, name: str) -> None:
    imported = client.import_certificate(name, pfx(leaf, password="secret"), password="secret", tags={"a": "b"})
    assert bytes(imported.cer or b"") == leaf.public_bytes(Encoding.DER)
    assert properties(imported).tags == {"a": "b"}
    assert properties(imported).expires_on == leaf.not_valid_after_utc


def test_an_import_leaves_no_pending_operation(client: CertificateClient, rest: Rest, leaf: Any, name: str) -> None:
    self_signed(client, name)
    assert "pending" not in rest("POST", f"/certificates/{name}/import", json=body(pfx(leaf))).json()
    assert rest("GET", f"/certificates/{name}/pending").status_code == 404
    assert len(list(client.list_properties_of_certificate_versions(name))) == 2


def test_a_pem_is_imported_with_the_key_before_or_after(
    client: CertificateClient, secrets: SecretClient, leaf: x509.Certificate, authority: Authority, name: str
) -> None:
    data = pem(authority.root, leaf, authority.intermediate)
    client.import_certificate(name, data, policy=PEM_POLICY)
    secret = secrets.get_secret(name)
    assert secret.properties.content_type == PEM
    parsed = x509.load_pem_x509_certificates((secret.value or "").encode())
    assert parsed == [leaf, authority.intermediate, authority.root]


def test_a_raw_pem_text_is_imported_as_dotnet_sends_it(rest: Rest, leaf: x509.Certificate, name: str) -> None:
    message = body(b"", PEM) | {"value": pem(leaf).decode()}
    assert rest("POST", f"/certificates/{name}/import", json=message).status_code == 200


def exported(directory: Path, data: bytes, password: str, *options: str) -> bytes:
    """The PFX that openssl makes of this PEM."""
    whole, made = directory / "all.pem", directory / "a.pfx"
    whole.write_bytes(data)
    openssl("pkcs12", "-export", "-passout", f"pass:{password}", *options, "-in", str(whole), "-out", str(made))
    return made.read_bytes()


def test_an_encrypted_pem_is_imported_with_its_password(
    rest: Rest, secrets: SecretClient, leaf: Any, name: str
) -> None:
    message = body(pem(leaf, password="secret"), PEM, pwd="secret")
    answer = rest("POST", f"/certificates/{name}/import", json=message)
    assert answer.status_code == 200, answer.text
    value = (secrets.get_secret(name).value or "").encode()
    stored = serialization.load_pem_private_key(value, None)
    assert isinstance(stored, ec.EllipticCurvePrivateKey)
    assert stored.private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize("password", ["", "wrong"])
def test_an_encrypted_pem_without_its_password_is_refused(rest: Rest, leaf: Any, name: str, password: str) -> None:
    message = body(pem(leaf, password="secret"), PEM, pwd=password)
    answer = rest("POST", f"/certificates/{name}/import", json=message)
    assert answer.status_code == 400
    assert UNEXPECTED in answer.json()["error"]["message"]


def test_an_encrypted_pem_with_too_many_iterations_is_refused(rest: Rest, leaf: Any, name: str) -> None:
    block = KEY.private_bytes(Encoding.DER, serialization.PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    parsed = EncryptedPrivateKeyInfo.load(block)
    parsed["encryption_algorithm"]["parameters"]["key_derivation_func"]["parameters"]["iteration_count"] = 2_000_000_000
    encoded = base64.encodebytes(parsed.dump(force=True)).decode()
    data = f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{encoded}-----END ENCRYPTED PRIVATE KEY-----\n".encode()
    message = body(leaf.public_bytes(Encoding.PEM) + data, PEM, pwd="secret")
    assert rest("POST", f"/certificates/{name}/import", json=message).status_code == 400


@pytest.fixture(params=[["-legacy", "-descert"], [], ["-keypbe", "NONE", "-certpbe", "NONE"]], ids=str)
def unordered(request: pytest.FixtureRequest, leaf: x509.Certificate, authority: Authority, tmp_path: Path) -> Any:
    """Makes a PFX with the root in its middle, for a password."""
    whole = pem(leaf, authority.root, authority.intermediate)
    return lambda password: exported(tmp_path, whole, password, *request.param)


@pytest.mark.parametrize("password", ["", "secret"])
def test_an_imported_pfx_keeps_its_order(
    rest: Rest, secrets: SecretClient, unordered: Callable[[str], bytes], name: str, password: str
) -> None:
    made = unordered(password)
    answer = rest("POST", f"/certificates/{name}/import", json=body(made, pwd=password))
    assert answer.status_code == 200, answer.text
    stored = certificate_order(base64.b64decode(secrets.get_secret(name).value or ""), "")
    assert stored == certificate_order(made, password)
    assert len(stored) == 3


def test_a_pfx_with_an_old_cipher_is_imported_leaf_first(
    rest: Rest, secrets: SecretClient, leaf: x509.Certificate, authority: Authority, tmp_path: Path, name: str
) -> None:
    made = exported(tmp_path, pem(leaf, authority.intermediate), "secret", "-legacy")
    answer = rest("POST", f"/certificates/{name}/import", json=body(made, pwd="secret"))
    assert answer.status_code == 200, answer.text
    stored = certificate_order(base64.b64decode(secrets.get_secret(name).value or ""), "")
    assert stored == [item.public_bytes(Encoding.DER) for item in (leaf, authority.intermediate)]


def test_a_pfx_with_the_root_first_is_imported_and_kept_so(
    rest: Rest, secrets: SecretClient, leaf: x509.Certificate, authority: Authority, name: str
) -> None:
    order = tuple(item.public_bytes(Encoding.DER) for item in (authority.root, authority.intermediate, leaf))
    key = KEY.private_bytes(Encoding.DER, serialization.PrivateFormat.PKCS8, NoEncryption())
    answer = rest("POST", f"/certificates/{name}/import", json=body(write_pfx(key, order[-1], order)))
    assert answer.json()["cer"] == base64.b64encode(order[-1]).decode()
    assert certificate_order(base64.b64decode(secrets.get_secret(name).value or ""), "") == list(order)


def test_a_pfx_that_would_take_forever_is_refused(rest: Rest, leaf: x509.Certificate, name: str) -> None:
    parsed = pkcs12_structure.Pfx.load(pfx(leaf, password="secret"))
    parsed["mac_data"]["iterations"] = 2_000_000_000
    message = body(parsed.dump(force=True), pwd="secret")
    assert rest("POST", f"/certificates/{name}/import", json=message).status_code == 400


def test_preserve_cert_order_keeps_the_order_of_the_file(
    rest: Rest, secrets: SecretClient, leaf: x509.Certificate, authority: Authority, name: str
) -> None:
    message = body(pem(authority.root, leaf), PEM, preserveCertOrder=True)
    assert rest("POST", f"/certificates/{name}/import", json=message).json()["preserveCertOrder"] is True
    assert x509.load_pem_x509_certificates((secrets.get_secret(name).value or "").encode()) == [authority.root, leaf]


def test_the_policy_is_derived_from_the_certificate(rest: Rest, authority: Authority, name: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("a.example"), x509.UniformResourceIdentifier("https://a.example/")]
    )
    certificate = certify(
        "a.example,O=Internet Widgits Pty Ltd,ST=Some-State,C=AU",
        key.public_key(),
        "intermediate",
        authority.key,
        validity(datetime.timedelta(days=1825)),
        extensions=(names, x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])),
    )
    message = body(pfx(certificate, key=key))
    message["policy"] = {"x509_props": {"subject": "CN=ignored"}, "key_props": {"exportable": False}}
    policy = rest("POST", f"/certificates/{name}/import", json=message).json()["policy"]
    assert policy["x509_props"] == {
        "subject": "CN=a.example, O=Internet Widgits Pty Ltd, S=Some-State, C=AU",
        "sans": {
            "emails": [],
            "dns_names": ["a.example"],
            "upns": [],
            "uris": ["https://a.example/"],
            "ipAddresses": [],
        },
        "ekus": ["1.3.6.1.5.5.7.3.1"],
        "key_usage": [],
        "validity_months": 60,
        "basic_constraints": {"ca": False},
    }
    assert policy["key_props"] == {"exportable": False, "kty": "RSA", "key_size": 2048, "reuse_key": False}
    assert policy["issuer"] == {"name": "Unknown"}
    assert policy["lifetime_actions"] == [
        {"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}
    ]


@pytest.mark.parametrize(("kty", "key"), [("EC", KEY), ("RSA", rsa_key_of_known_primes(2048))], ids=["EC", "RSA"])
def test_a_key_that_is_imported_into_an_hsm_stays_there(rest: Rest, name: str, kty: str, key: Any) -> None:
    message = body(pfx(certify("a.example", key.public_key(), "a.example", key), key=key))
    message["policy"] = {"key_props": {"kty": f"{kty}-HSM", "exportable": True}}
    refused = rest("POST", f"/certificates/{name}/import", json=message)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadParameter")
    message["policy"]["key_props"].pop("exportable")
    props = rest("POST", f"/certificates/{name}/import", json=message).json()["policy"]["key_props"]
    assert (props["kty"], props["exportable"]) == (f"{kty}-HSM", False)
    assert rest("GET", f"/keys/{name}").json()["key"]["kty"] == f"{kty}-HSM"
    secret = base64.b64decode(rest("GET", f"/secrets/{name}").json()["value"])
    assert pkcs12.load_key_and_certificates(secret, None)[0] is None
    message["policy"]["key_props"]["kty"] = {"EC": "RSA-HSM", "RSA": "EC-HSM"}[kty]
    assert rest("POST", f"/certificates/{name}/import", json=message).status_code == 400


@pytest.mark.parametrize(
    ("begin", "end", "months"),
    [  # the first three as recorded
        ("2015-04-29T15:31:12", "2039-12-31T23:59:59", 297),
        ("2019-10-15T00:00:00", "2029-10-12T00:00:00", 120),
        ("2024-02-29T10:00:00", "2029-02-28T10:10:00", 61),
        ("2024-02-29T10:00:00", "2029-02-28T10:00:00", 60),
        ("2020-01-01T00:00:00", "2119-12-31T00:00:00", 1200),
        ("2020-01-01T00:00:00", "2220-01-01T00:00:00", 1200),
        ("2026-01-01T00:00:00", "2099-01-31T00:00:00", 877),
    ],
)
def test_the_validity_of_an_import_is_in_months_rounded_up(
    rest: Rest, authority: Authority, name: str, begin: str, end: str, months: int
) -> None:
    first, last = (datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC) for moment in (begin, end))
    certificate = certify("a.example", KEY.public_key(), "intermediate", authority.key, (first, last))
    policy = rest("POST", f"/certificates/{name}/import", json=body(pfx(certificate))).json()["policy"]
    assert policy["x509_props"]["validity_months"] == months


def test_international_names_stay_as_the_certificate_has_them(rest: Rest, authority: Authority, name: str) -> None:
    names: list[x509.GeneralName] = [
        x509.DNSName("xn--mnchen-3ya.example"),
        x509.RFC822Name("post@xn--mnchen-3ya.example"),
        x509.UniformResourceIdentifier("https://xn--mnchen-3ya.example/%C3%BC"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    ]
    extensions = (x509.SubjectAlternativeName(names),)
    certificate = certify("a", KEY.public_key(), "intermediate", authority.key, extensions=extensions)
    policy = rest("POST", f"/certificates/{name}/import", json=body(pfx(certificate))).json()["policy"]
    assert policy["x509_props"]["sans"] == {
        "emails": ["post@xn--mnchen-3ya.example"],
        "dns_names": ["xn--mnchen-3ya.example"],
        "upns": [],
        "uris": ["https://xn--mnchen-3ya.example/%C3%BC"],
        "ipAddresses": ["192.0.2.1"],
    }
    renewed = rest("POST", f"/certificates/{name}/create", json={})
    assert renewed.status_code == 202, renewed.text


def test_with_issuer_self_an_import_renews_itself(rest: Rest, leaf: x509.Certificate, name: str) -> None:
    message = body(pfx(leaf)) | {"policy": {"issuer": {"name": "Self"}}}
    policy = rest("POST", f"/certificates/{name}/import", json=message).json()["policy"]
    assert policy["lifetime_actions"][0]["action"] == {"action_type": "AutoRenew"}


def test_a_ca_certificate_is_imported(rest: Rest, authority: Authority, name: str) -> None:
    message = body(pfx(authority.root, key=authority.root_key))
    answer = rest("POST", f"/certificates/{name}/import", json=message)
    assert answer.json()["policy"]["x509_props"]["basic_constraints"] == {"ca": True}


UNREADABLE = "The specified PKCS#12 X.509 certificate content can not be read."
UNEXPECTED = "The specified PEM X.509 certificate content is in an unexpected format."


def test_files_that_cannot_be_imported_are_refused(rest: Rest, leaf: Any, authority: Authority, name: str) -> None:
    strange = ed25519.Ed25519PrivateKey.generate()
    day = datetime.timedelta(days=1)
    expired = certify("old", KEY.public_key(), "intermediate", authority.key, validity(day, ago=2 * day))
    small = rsa.generate_private_key(65537, 1024)
    weak = certify("weak", small.public_key(), "intermediate", authority.key)
    faults: list[tuple[str, dict[str, Any]]] = [
        (UNREADABLE, body(b"no PFX")),
        (UNREADABLE, body(pfx(leaf, password="right"), pwd="wrong")),
        (UNREADABLE, body(pfx(leaf, password="right"))),
        (UNREADABLE, body(pem(leaf))),
        (UNREADABLE, body(pfx(leaf)[:-20])),
        (UNREADABLE, body(pkcs12.serialize_key_and_certificates(None, None, leaf, [], NoEncryption()))),
        (UNREADABLE, body(pfx(authority.intermediate, key=authority.key)[:100])),
        (UNREADABLE, {"value": "***"}),
        (UNEXPECTED, body(pfx(leaf), PEM)),
        (UNEXPECTED, body(leaf.public_bytes(Encoding.PEM), PEM)),
        (UNEXPECTED, body(pem(leaf, form="TraditionalOpenSSL"), PEM)),
        (UNEXPECTED, body(pem(leaf) + pem(), PEM)),
        (UNEXPECTED, body(pem(authority.root), PEM)),
        (UNEXPECTED, body(pem(leaf, key=strange), PEM)),
        (UNEXPECTED, body(pem(leaf).replace(b"\nMI", b"\nAA"), PEM)),
        ("X509 Certificate is already expired", body(pfx(expired))),
        ("Unsupported key size (1024)", body(pfx(weak, key=small))),
        ("Unsupported key size (256)", body(pfx(leaf)) | {"policy": {"key_props": {"kty": "RSA"}}}),
        ("char length is too long", body(pfx(leaf), pwd="x" * 201)),
        ("The size of the X.509 certificate is too long", body(b"x" * 100_000)),
        ("Property policy has invalid value", body(pfx(leaf), "text/plain")),
        ("Issuer nobody not found", body(pfx(leaf)) | {"policy": {"issuer": {"name": "nobody"}}}),
        ("Property value has invalid value", {}),
        ("Property value has invalid value", {"value": 5}),
    ]
    for message, sent in faults:
        answer = rest("POST", f"/certificates/{name}/import", json=sent)
        assert answer.status_code == 400, (message, answer.text)
        assert message in answer.json()["error"]["message"]
    assert rest("GET", f"/certificates/{name}").status_code == 404


def test_an_import_while_an_operation_is_in_progress_is_refused(rest: Rest, leaf: Any, name: str) -> None:
    policy = {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=a"}}
    rest("POST", f"/certificates/{name}/create", json={"policy": policy})
    answer = rest("POST", f"/certificates/{name}/import", json=body(pfx(leaf)))
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "Forbidden"
