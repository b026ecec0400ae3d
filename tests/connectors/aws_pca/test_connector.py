"""`aws_pca` against moto's server."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certrelay.connectors.aws_pca.connector import AwsPca
from certrelay.connectors.aws_pca.settings import AwsPcaSettings
from certrelay.connectors.base import (
    ChecksHealth,
    Connector,
    ConnectorError,
    Feature,
    Issued,
    Pending,
    Rejected,
    RevocationReason,
    Revokes,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from tests.connectors.aws_pca.moto import (
    ARN,
    KEY,
    NAMES,
    Moto,
    aws_pca,
    collected,
    make_authority,
    playing,
    sent_by,
    submitted,
)
from tests.connectors.conformance import Authority, Conformance, context, issue
from tests.connectors.hostile import HostileConformance, closed_port_url
from tests.connectors.signing_requests import private_key, self_signed, signing_request

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lasting(moto: Moto) -> AwsPca:
    """One connector for all but restarts: botocore takes 30 ms to make a client."""
    return aws_pca(moto)


class TestAwsPca(Conformance):
    undeclared = frozenset({Feature.FINDS_EARLIER_ORDER})
    abilities = frozenset({Revokes, ChecksHealth})

    @pytest.fixture
    def authority(self, moto: Moto, lasting: AwsPca) -> Authority:
        return Authority(
            connect=lambda: lasting,
            unreachable=lambda: aws_pca(moto, url=closed_port_url()),
            pending=lambda: aws_pca(moto),  # a restart
            roots=[moto.root],
            secrets=["top-secret"],
            key_types=("rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"),
        )

    def test_it_is_valid_now_and_until_the_requested_time(  # type: ignore[override]
        self, authority: Authority, names: SubjectNames, moto: Moto
    ) -> None:
        """moto always gives a year: so what AWS is asked for is looked at."""
        connector = aws_pca(moto)
        orders = sent_by(connector, "IssueCertificate")
        request = signing_request(names)
        leaf = issue(authority, request, connector)
        assert leaf.not_valid_before_utc <= datetime.now(UTC) + timedelta(seconds=2)
        assert orders[0]["Validity"] == {"Type": "ABSOLUTE", "Value": int(request.not_after.timestamp())}

    def test_a_certificate_authority_gets_a_ca_certificate(  # type: ignore[override]
        self, authority: Authority, host: str, moto: Moto
    ) -> None:
        """moto knows no template for subordinate authorities: so what AWS is asked for is looked at."""
        connector = aws_pca(moto)
        orders = sent_by(connector, "IssueCertificate")
        connector.submit(signing_request(SubjectNames(host), private_key("rsa-2048"), is_ca=True))
        assert orders[0]["TemplateArn"] == "arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1"

    def test_a_certificate_is_revoked_once_and_again(  # type: ignore[override]
        self, authority: Authority, names: SubjectNames, moto: Moto
    ) -> None:
        """moto does not tell which certificates are revoked: so what AWS is asked for is looked at."""
        connector = aws_pca(moto)
        calls = sent_by(connector, "RevokeCertificate")
        leaf = issue(authority, signing_request(names), connector)
        for _ in range(2):
            connector.revoke(leaf.public_bytes(serialization.Encoding.DER), RevocationReason.KEY_COMPROMISE)
        assert [call["RevocationReason"] for call in calls] == ["KEY_COMPROMISE"] * 2
        assert {int(call["CertificateSerial"].replace(":", ""), 16) for call in calls} == {leaf.serial_number}

    def test_a_certificate_of_a_stranger_cannot_be_revoked(self, authority: Authority, names: SubjectNames) -> None:
        """moto revokes any serial number: so AWS's documented refusal is played."""
        stranger = self_signed(names).public_bytes(serialization.Encoding.DER)
        with playing("ResourceNotFoundException") as connector, pytest.raises(ConnectorError, match="ResourceNotFound"):
            connector.revoke(stranger, RevocationReason.UNSPECIFIED)

    def test_a_csr_that_is_none_is_never_issued(self, authority: Authority, names: SubjectNames) -> None:
        """moto does not look at the CSR's signature: so AWS's documented refusal is played."""
        assert submitted("MalformedCSRException", "not a CSR") == Rejected("MalformedCSRException: not a CSR")


class TestAwsPcaAgainstAHostileServer(HostileConformance):
    secrets = ("top-secret",)

    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        settings = {"url": url, "ca_certificates": ca_certificates, "timeout": timeout, **KEY}
        return AwsPca(AwsPcaSettings.model_validate({"certificate_authority_arn": ARN, **settings}), context("aws"))


# Orders


def test_an_order_is_pending_under_its_arn_and_then_issued_with_the_chain(moto: Moto) -> None:
    request = signing_request(NAMES)
    pending = aws_pca(moto).submit(request)
    assert isinstance(pending, Pending)
    assert pending.reference.startswith(f"{moto.arn}/certificate/")
    issued = aws_pca(moto).collect(request, pending.reference)
    assert isinstance(issued, Issued)
    assert x509.load_pem_x509_certificates(issued.answer)[1:] == [moto.root]


def test_the_same_operation_has_the_same_idempotency_token(moto: Moto) -> None:
    connector = aws_pca(moto)
    orders = sent_by(connector, "IssueCertificate")
    first, second = signing_request(NAMES), signing_request(NAMES)
    for request in (first, first, second):
        connector.submit(request)
    tokens = [order["IdempotencyToken"] for order in orders]
    assert tokens[0] == tokens[1] != tokens[2]
    assert all(len(token) <= 36 for token in tokens)


def test_template_and_signing_algorithm_are_those_of_the_settings(moto: Moto) -> None:
    template = "arn:aws:acm-pca:::template/EndEntityCertificate/V1"
    connector = aws_pca(moto, template_arn=template, signing_algorithm="SHA384WITHRSA")
    orders = sent_by(connector, "IssueCertificate")
    connector.submit(signing_request(NAMES))
    assert (orders[0]["TemplateArn"], orders[0]["SigningAlgorithm"]) == (template, "SHA384WITHRSA")


def test_an_authority_that_is_not_active_is_not_healthy(moto: Moto) -> None:
    arn, _ = make_authority(moto.pca, activate=False)
    with pytest.raises(ConnectorError, match="PENDING_CERTIFICATE, not ACTIVE"):
        aws_pca(moto, certificate_authority_arn=arn).check()


# AWS's documented answers, played


def test_an_order_in_progress_is_pending_under_the_same_reference() -> None:
    assert collected("RequestInProgressException") == Pending(f"{ARN}/certificate/1", 2.0)


@pytest.mark.parametrize("code", ["RequestFailedException", "ResourceNotFoundException"])
def test_an_order_that_is_lost_is_placed_anew(code: str) -> None:
    assert collected(code) == Unavailable(f"{code}: words of AWS", restart=True)


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"])
def test_a_refused_login_is_unavailable_for_it_may_be_put_right(code: str) -> None:
    assert submitted(code) == Unavailable(f"permission denied ({code})")


@pytest.mark.parametrize("code", ["InvalidStateException", "LimitExceededException", "ThrottlingException"])
def test_a_state_that_passes_is_unavailable(code: str) -> None:
    assert submitted(code) == Unavailable(f"{code}: words of AWS")


def test_the_time_that_aws_names_is_obeyed() -> None:
    outcome = submitted("ThrottlingException", status=429, Retry_After="30")
    assert outcome == Unavailable("ThrottlingException: words of AWS", 30)


def test_a_certificate_that_is_revoked_already_is_no_error() -> None:
    der = self_signed(NAMES).public_bytes(serialization.Encoding.DER)
    with playing("RequestAlreadyProcessedException") as connector:
        connector.revoke(der, RevocationReason.SUPERSEDED)


def test_a_reason_that_aws_does_not_know_is_refused_before_anything_is_sent() -> None:
    der = self_signed(NAMES).public_bytes(serialization.Encoding.DER)
    with playing("InvalidRequestException") as connector, pytest.raises(ConnectorError, match="certificateHold"):
        connector.revoke(der, RevocationReason.CERTIFICATE_HOLD)
