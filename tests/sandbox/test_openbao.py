"""The external authority signs what its role allows, and says why it does not sign the rest."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store
from hvac.exceptions import Forbidden, InvalidRequest

from sandbox.openbao import OpenBao
from sandbox.ports import accepts_connections
from sandbox.processes import ProcessError

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make_csr(names: list[x509.GeneralName], key: Key | None = None) -> str:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return (
        builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]


@pytest.fixture
def app(openbao: OpenBao) -> Iterator[hvac.Client]:
    """Logged in as the app does."""
    with requests.Session() as session:
        client = hvac.Client(openbao.address, session=session)
        client.auth.approle.login(openbao.role_id, openbao.secret_id)
        yield client


def sign(app: hvac.Client, csr: str, days: float = 90) -> dict[str, Any]:
    end = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    pki: Any = app.secrets.pki
    answer: dict[str, Any] = pki.sign_certificate("web", csr, "", {"not_after": end}, "pki_int")["data"]
    return answer


@pytest.mark.parametrize(
    "names",
    [
        dns("www.contoso.example", "shop.contoso.example"),
        dns("contoso.example"),
        dns("*.contoso.example"),
        dns("a.very.deep.contoso.example"),
        [*dns("www.contoso.example"), x509.RFC822Name("web@contoso.example")],
        [*dns("www.contoso.example"), x509.UniformResourceIdentifier("spiffe://contoso.example/web")],
    ],
)
def test_names_below_the_domain_are_signed(app: hvac.Client, names: list[x509.GeneralName]) -> None:
    leaf = x509.load_pem_x509_certificate(sign(app, make_csr(names))["certificate"].encode())
    assert list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == names


@pytest.mark.parametrize("name", ["www.fabrikam.example", "contoso.example.fabrikam.example", "localhost", "example"])
def test_other_names_are_refused_with_the_reason(app: hvac.Client, name: str) -> None:
    with pytest.raises(InvalidRequest, match="not allowed by this role"):
        sign(app, make_csr(dns(name)))


def test_one_foreign_name_among_good_ones_is_refused(app: hvac.Client) -> None:
    with pytest.raises(InvalidRequest, match=r"www\.fabrikam\.example not allowed"):
        sign(app, make_csr(dns("www.contoso.example", "www.fabrikam.example")))


@pytest.mark.parametrize(
    "key", [lambda: rsa.generate_private_key(65537, 2048), lambda: ec.generate_private_key(ec.SECP384R1())]
)
def test_rsa_and_ec_keys_are_signed(app: hvac.Client, key: Any) -> None:
    private_key = key()
    answer = sign(app, make_csr(dns("www.contoso.example"), private_key))
    assert x509.load_pem_x509_certificate(answer["certificate"].encode()).public_key() == private_key.public_key()


def test_the_chain_leads_to_the_root(app: hvac.Client, openbao: OpenBao) -> None:
    answer = sign(app, make_csr(dns("www.contoso.example")))
    chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in [answer["certificate"], *answer["ca_chain"]]]
    root = x509.load_pem_x509_certificate(openbao.root_certificate_pem.encode())
    assert chain[-1] == root
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName("www.contoso.example"))
    assert len(verifier.verify(chain[0], chain[1:])) == 3


@pytest.mark.parametrize("days_ahead", [0, 60, 360])
def test_the_end_that_is_asked_is_granted_though_the_asker_lives_ahead_of_time(
    app: hvac.Client, days_ahead: int
) -> None:
    answer = sign(app, make_csr(dns("www.contoso.example")), days=days_ahead + 90)
    end = x509.load_pem_x509_certificate(answer["certificate"].encode()).not_valid_after_utc
    assert abs(end - datetime.now(UTC) - timedelta(days=days_ahead + 90)) < timedelta(minutes=1)


def test_an_end_beyond_the_bound_is_refused(app: hvac.Client) -> None:
    with pytest.raises(InvalidRequest, match="beyond the maximum timestamp"):
        sign(app, make_csr(dns("www.contoso.example")), days=3 * 365)


@pytest.mark.parametrize("path", ["sys/mounts", "pki_int/roles/web", "pki_root/sign/web", "pki_int/sign-verbatim/web"])
def test_the_app_may_do_nothing_but_sign_and_revoke(app: hvac.Client, path: str) -> None:
    with pytest.raises(Forbidden):
        app.read(path)
    with pytest.raises(Forbidden):
        app.write_data(path, data={"common_name": "www.contoso.example"})


def test_the_app_may_revoke(app: hvac.Client) -> None:
    answer = sign(app, make_csr(dns("www.contoso.example")))
    revoked: Any = app.write_data("pki_int/revoke", data={"certificate": answer["certificate"]})
    assert revoked["data"]["revocation_time"] > 0


def test_the_root_token_is_not_on_the_command_line(openbao: OpenBao) -> None:
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    if not command_lines:
        pytest.skip("reads /proc")
    assert any(b"-dev-listen-address" in line for line in command_lines)
    assert not any(openbao.root_token.encode() in line for line in command_lines)


def test_a_second_one_runs_beside_the_first_and_stops(openbao: OpenBao, tmp_path: Path) -> None:
    with OpenBao(tmp_path) as second:
        assert second.root_certificate_pem != openbao.root_certificate_pem
        second.check()
    assert not accepts_connections(second.port)
    openbao.check()


def test_a_port_that_is_taken_is_reported(openbao: OpenBao, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=f"in use already.* {openbao.port}$"), OpenBao(tmp_path, openbao.port):
        pass


def test_settings_of_a_real_vault_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://vault.contoso.example")
    monkeypatch.setenv("VAULT_TOKEN", "of-a-real-vault")
    monkeypatch.setenv("BAO_NAMESPACE", "elsewhere")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with OpenBao(tmp_path) as openbao:
        assert accepts_connections(openbao.port)
