"""Making an authority in the sandbox vault: root and intermediate, killed at every request, and by several at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.certificates import CertificateClient, CertificatePolicy, CertificatePolicyAction
from azure.keyvault.keys.crypto import CryptographyClient
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.base import Issued, Rejected
from certrelay.connectors.private_ca import bootstrap
from certrelay.connectors.private_ca.__main__ import main
from certrelay.connectors.private_ca.bootstrap import (
    Authority,
    BootstrapError,
    bootstrap_root,
    is_authority,
    merge_intermediate,
    request_intermediate,
)
from certrelay.pki.subject import SubjectNames
from tests.connectors.answers import certificates
from tests.connectors.private_ca.private_authority import World, openssl, pem_file
from tests.connectors.signing_requests import self_signed, signing_request

pytestmark = pytest.mark.slow


@pytest.fixture
def wanted(request: pytest.FixtureRequest) -> Authority:
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in request.node.name)[:100]
    return Authority(name, "CN=Contoso Root, O=Contoso", "EC-256")


def root(world: World, wanted: Authority) -> x509.Certificate:
    return bootstrap_root(world.certificates, world.key_of, wanted, world.now(), poll=0.05)


@pytest.mark.parametrize("kind", ["EC-256", "EC-384", "EC-521", "RSA-2048", "RSA-4096"])
def test_a_root_is_strictly_valid_and_its_key_not_exportable(
    world: World, wanted: Authority, tmp_path: Path, kind: str
) -> None:
    made = root(world, replace(wanted, kind=kind, path_length=1, permitted_dns=("example.com",)))
    file = pem_file(tmp_path / "root.pem", made)
    openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", file, file)
    assert is_authority(made)
    assert made.subject == made.issuer
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    assert made.extensions.get_extension_for_class(x509.NameConstraints).critical
    policy = world.certificates.get_certificate_policy(wanted.name)
    assert policy.exportable is False
    assert policy.issuer_name == "Unknown"
    assert policy.lifetime_actions
    assert policy.lifetime_actions[0].action == CertificatePolicyAction.email_contacts


@pytest.mark.parametrize("kind", ["EC-256", "RSA-2048"])
def test_a_key_in_an_hsm_signs_for_its_authority(world: World, wanted: Authority, kind: str) -> None:
    made = root(world, replace(wanted, kind=kind, hsm=True))
    assert world.certificates.get_certificate_policy(wanted.name).key_type == f"{kind.partition('-')[0]}-HSM"
    outcome = world.connector(wanted.name, **world.containers()).submit(signing_request(SubjectNames("a.example.com")))
    assert isinstance(outcome, Issued)
    certificates(outcome.answer)[0].verify_directly_issued_by(made)


def test_a_second_call_returns_the_same_root(world: World, wanted: Authority) -> None:
    assert root(world, wanted) == root(world, wanted)


class Killed(BaseException):
    pass


METHODS: list[tuple[type[Any], str]] = [
    (CertificateClient, "send_request"),
    (CertificateClient, "get_certificate_operation"),
    (CertificateClient, "merge_certificate"),
    (CertificateClient, "get_certificate"),
    (CryptographyClient, "sign"),
]


def kill_at(patch: pytest.MonkeyPatch, step: int, moment: str) -> None:
    """The call with this number (of METHODS) is the last: it has taken effect or not."""
    count = iter(range(10_000))

    def deadly(owner: type, method: str) -> None:
        original = getattr(owner, method)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            is_last = next(count) == step
            if is_last and moment == "before":
                raise Killed
            try:
                return original(*arguments, **named)
            finally:
                if is_last:
                    raise Killed

        patch.setattr(owner, method, wrapped)

    for owner, method in METHODS:
        deadly(owner, method)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_bootstrap_killed_at_any_step_goes_on_from_there(
    world: World, wanted: Authority, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    killed = 0
    for step in range(100):
        one = replace(wanted, name=f"{wanted.name}{step}")
        with monkeypatch.context() as patch:
            kill_at(patch, step, moment)
            try:
                root(world, one)
                break
            except Killed:
                killed += 1
        made = root(world, one)
        assert is_authority(made)
        versions = list(world.certificates.list_properties_of_certificate_versions(one.name))
        assert len(versions) == 2
    assert killed >= 8


def test_a_first_version_that_key_vault_completes_just_after_the_look_is_not_made_again(
    world: World, wanted: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed had started it."""
    bootstrap._create(world.certificates, wanted, "Self")
    bootstrap._wait(world.certificates, wanted.name, 0.1)
    look, looks = bootstrap._current, []

    def too_early(vault: Any, authority: Authority) -> Any:
        looks.append(authority)
        return look(vault, authority) if len(looks) > 1 else None

    monkeypatch.setattr(bootstrap, "_current", too_early)
    assert is_authority(root(world, wanted))
    assert len(list(world.certificates.list_properties_of_certificate_versions(wanted.name))) == 2


def test_two_at_once_make_one_root(world: World, wanted: Authority) -> None:
    def once(_: int) -> x509.Certificate | None:
        try:
            return root(world, wanted)
        except (BootstrapError, HttpResponseError):
            return None

    with ThreadPoolExecutor(4) as pool:
        made = {one for one in pool.map(once, range(4)) if one}
    assert made | {root(world, wanted)} == {root(world, wanted)}


def test_a_root_that_another_merged_meanwhile_is_kept_and_the_begun_version_withdrawn(
    world: World, wanted: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one has seen the first version only; the quick one merges; then the slow one begins a version."""
    original, quick = bootstrap._pending_csr, []

    def slow(*arguments: Any) -> x509.CertificateSigningRequest:
        monkeypatch.undo()
        quick.append(root(world, wanted))
        return original(*arguments)

    monkeypatch.setattr(bootstrap, "_pending_csr", slow)
    assert [root(world, wanted)] == quick
    assert [root(world, wanted)] == quick
    with pytest.raises(ResourceNotFoundError):
        world.certificates.get_certificate_operation(wanted.name)


def test_a_certificate_of_something_else_is_left_alone(world: World, wanted: Authority) -> None:
    world.certificates.begin_create_certificate(
        wanted.name, CertificatePolicy("Self", subject="CN=shop.example.com"), _polling_interval=0.1
    ).wait(60)
    before = world.certificates.get_certificate(wanted.name).properties
    with pytest.raises(BootstrapError, match="for something else"):
        root(world, wanted)
    after = world.certificates.get_certificate(wanted.name).properties
    assert before
    assert after
    assert before.version == after.version


def test_an_intermediate_is_signed_by_another_authority_and_issues(
    world: World, wanted: Authority, tmp_path: Path
) -> None:
    name, top = world.root(path_length=1)
    csr = request_intermediate(world.certificates, wanted)
    assert csr == request_intermediate(world.certificates, wanted)
    parent = world.connector(name, issue_ca_certificates=True, max_validity_days=1000, **world.containers())
    der = csr.public_bytes(Encoding.DER)
    order = replace(signing_request(SubjectNames("Contoso Issuing"), is_ca=True), csr=der)
    outcome = parent.submit(order)
    assert isinstance(outcome, Issued)
    merged = merge_intermediate(world.certificates, wanted, outcome.answer)
    assert merged == merge_intermediate(world.certificates, wanted, outcome.answer)
    connector = world.connector(wanted.name, issue_ca_certificates=True, **world.containers())
    leaf = connector.submit(signing_request(SubjectNames(None, ("a.example.com",))))
    assert isinstance(leaf, Issued)
    found = certificates(leaf.answer)[0]
    openssl(
        *("verify", "-x509_strict", "-CAfile", pem_file(tmp_path / "top", top)),
        *("-untrusted", pem_file(tmp_path / "mid", merged), pem_file(tmp_path / "leaf", found)),
    )
    below = connector.submit(signing_request(SubjectNames("Too deep"), is_ca=True))
    assert isinstance(below, Rejected)
    assert "path length" in below.reason


def test_an_answer_for_another_key_or_no_authority_is_not_merged(world: World, wanted: Authority) -> None:
    csr = request_intermediate(world.certificates, wanted)
    with pytest.raises(BootstrapError, match="one certificate for the key"):
        merge_intermediate(world.certificates, wanted, self_signed(SubjectNames("x")).public_bytes(Encoding.PEM))
    name, _ = world.root()
    der = csr.public_bytes(Encoding.DER)
    outcome = world.connector(name, **world.containers()).submit(
        replace(signing_request(SubjectNames(None, ("a.example.com",))), csr=der)
    )
    assert isinstance(outcome, Issued)
    with pytest.raises(BootstrapError, match="not a CA certificate"):
        merge_intermediate(world.certificates, wanted, outcome.answer)
    assert request_intermediate(world.certificates, wanted) == csr


def arguments(world: World, wanted: Authority, *more: str) -> list[str]:
    return [
        "--vault-url",
        world.vault.url,
        "--name",
        wanted.name,
        "--subject",
        wanted.subject,
        "--key",
        "EC-256",
        *more,
    ]


def test_the_command_prints_the_root(world: World, wanted: Authority) -> None:
    program = [
        sys.executable,
        "-m",
        "certrelay.connectors.private_ca",
        *arguments(world, wanted, "--days", "30"),
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    made = x509.load_pem_x509_certificate(done.stdout.encode())
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=30)
    assert root(world, wanted) == made


def test_the_command_says_in_a_sentence_why_it_cannot(
    world: World, wanted: Authority, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer = pem_file(tmp_path / "answer.pem", self_signed(SubjectNames("x")))
    assert main(arguments(world, wanted, "--intermediate")) == 0
    assert "BEGIN CERTIFICATE REQUEST" in capsys.readouterr().out
    assert main(arguments(world, wanted, "--answer", str(answer))) == 1
    assert capsys.readouterr().err.strip() == "the answer must hold exactly one certificate for the key in Key Vault"


def test_the_key_of_a_pending_version_does_not_sign_in_the_sandbox(world: World, wanted: Authority) -> None:
    """Why a root is made in two versions."""
    csr = request_intermediate(world.certificates, wanted)
    pending = world.certificates.get_certificate(wanted.name).properties
    assert pending
    key = world.key_of(f"{world.vault.url}/keys/{wanted.name}/{pending.version}", csr.public_key())
    with pytest.raises(HttpResponseError) as caught:
        x509.CertificateSigningRequestBuilder().subject_name(csr.subject).sign(key, SHA256())
    assert caught.value.status_code == 403
    assert "KeyDisabled" in caught.value.response.text()  # type: ignore[union-attr]
