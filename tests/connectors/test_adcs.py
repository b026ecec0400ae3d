"""`adcs` against a simulation: pages of our own behind a real NTLM acceptor. No AD CS was ever asked."""

import base64
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from pydantic import ValidationError

from certrelay.connectors.adcs.connector import Adcs
from certrelay.connectors.adcs.settings import AdcsSettings
from certrelay.connectors.base import (
    ChecksHealth,
    Connector,
    ConnectorError,
    Feature,
    Issued,
    Outcome,
    Pending,
    Rejected,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from tests.connectors.adcs_pages import DENIED, DOMAIN, PASSWORD, USER, Pages, adcs_pages
from tests.connectors.answers import leaf_of
from tests.connectors.conformance import Authority, Conformance, context
from tests.connectors.hostile import HostileConformance, HostileServer, closed_port_url, hostile_server
from tests.connectors.signing_requests import signing_request

pytestmark = pytest.mark.slow

NAMES = SubjectNames("a.example.com", ("a.example.com",))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    users: Path = tmp_path_factory.mktemp("ntlm") / "users"
    users.write_text(f"{DOMAIN}:{USER}:{PASSWORD}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NTLM_USER_FILE", str(users))
        with adcs_pages() as running:
            yield running


def adcs(pages: Any, **changes: Any) -> Adcs:
    settings = {
        "url": pages.url,
        "ca_certificates": pages.ca_certificates,
        "template": "WebServer",
        "username": f"{DOMAIN}\\{USER}",
        "password": PASSWORD,
        **changes,
    }
    return Adcs(AdcsSettings.model_validate(settings), context("adcs"))


class TestAdcs(Conformance):
    undeclared = frozenset({Feature.REQUESTED_VALIDITY, Feature.FINDS_EARLIER_ORDER, Feature.CERTIFICATE_AUTHORITY})
    abilities = frozenset({ChecksHealth})

    @pytest.fixture
    def authority(self, pages: Pages) -> Authority:
        return Authority(
            connect=lambda: adcs(pages),
            unreachable=lambda: adcs(pages, url=closed_port_url()),
            pending=lambda: adcs(pages, template="Approved"),
            settle=pages.approve,
            roots=[pages.root],
            refused=SubjectNames("www.example.net", ("www.example.net",)),
            secrets=[PASSWORD],
            key_types=("rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"),
        )


class TestAdcsAgainstAHostileServer(HostileConformance):
    secrets = ("top-secret",)

    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        settings = AdcsSettings.model_validate(
            {
                "url": url,
                "ca_certificates": ca_certificates,
                "timeout": timeout,
                "template": "WebServer",
                "username": "EXAMPLE\\relay",
                "password": "top-secret",
            }
        )
        return Adcs(settings, context("adcs"))


# Logging in


def test_ntlm_is_bound_to_the_tls_certificate_or_refused(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(adcs(pages).submit(signing_request(NAMES)), Issued)
    monkeypatch.setattr(
        "certrelay.connectors.adcs.connector.tls_server_end_point", lambda _answer: b"tls-server-end-point:another"
    )
    assert adcs(pages).submit(signing_request(NAMES)) == Unavailable("permission denied (HTTP 401)")


@pytest.mark.parametrize("login", ["ntlm", "basic"])
def test_a_wrong_password_is_unavailable_for_it_may_be_put_right(pages: Pages, login: str) -> None:
    connector = adcs(pages, password="a wrong one", login=login)
    assert connector.submit(signing_request(NAMES)) == Unavailable("permission denied (HTTP 401)")
    with pytest.raises(ConnectorError, match="permission denied"):
        connector.check()


def test_basic_logs_in_as_well(pages: Pages) -> None:
    connector = adcs(pages, login="basic")
    connector.check()
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)


def test_the_messages_of_a_login_are_in_no_log(pages: Pages, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        adcs(pages).submit(signing_request(NAMES))
    assert "certfnsh.asp" in caplog.text
    assert base64.b64encode(b"NTLMSSP\0")[:-2].decode() not in caplog.text


def test_kerberos_without_its_package_says_which_one(pages: Pages) -> None:
    outcome = adcs(pages, login="kerberos").submit(signing_request(NAMES))
    assert isinstance(outcome, Unavailable)
    assert "pyspnego[kerberos]" in outcome.reason


# What becomes of a request


def test_the_answer_is_the_pkcs7_with_the_chain(pages: Pages) -> None:
    outcome = adcs(pages).submit(signing_request(NAMES))
    assert isinstance(outcome, Issued)
    assert pages.root in pkcs7.load_der_pkcs7_certificates(outcome.answer)


def test_the_answer_is_the_certificate_where_the_chain_is_not_to_be_had(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "p7b", False)
    request = signing_request(NAMES)
    outcome = adcs(pages).submit(request)
    assert isinstance(outcome, Issued)
    assert leaf_of(outcome.answer, request) in x509.load_pem_x509_certificates(outcome.answer)


def test_a_request_waits_for_a_certificate_manager_and_is_found_by_its_id(pages: Pages) -> None:
    request = signing_request(NAMES)
    pending = adcs(pages, template="Approved", retry_after=77).submit(request)
    assert isinstance(pending, Pending)
    assert pending.awaits == f"a certificate manager decides on request {pending.reference}"
    assert pending.reference == str(len(pages.requests))
    assert pending.retry_after == 77
    again = adcs(pages, template="Approved", retry_after=77)
    assert again.collect(request, pending.reference) == replace(pending, awaits=""), "people are told once"
    pages.approve(pending.reference)
    assert isinstance(again.collect(request, pending.reference), Issued)


def test_a_request_that_a_certificate_manager_denies_is_rejected(pages: Pages) -> None:
    request = signing_request(NAMES)
    pending = adcs(pages, template="Approved").submit(request)
    assert isinstance(pending, Pending)
    pages.deny(pending.reference, "Denied by EXAMPLE\\Administrator")
    assert adcs(pages).collect(request, pending.reference) == Rejected("Denied by EXAMPLE\\Administrator")


def test_a_request_that_fails_once_it_is_approved_is_rejected(pages: Pages) -> None:
    request = signing_request(NAMES)
    pending = adcs(pages, template="Approved").submit(request)
    assert isinstance(pending, Pending)
    pages.deny(pending.reference, "Error Constructing or Publishing Certificate 0x800b0113")
    outcome = adcs(pages).collect(request, pending.reference)
    assert outcome == Rejected("Error Constructing or Publishing Certificate 0x800b0113")


def test_a_template_that_is_not_there_is_rejected_in_the_words_of_the_policy_module(pages: Pages) -> None:
    outcome = adcs(pages, template="Closed").submit(signing_request(NAMES))
    assert isinstance(outcome, Rejected)
    assert outcome.reason.startswith("Denied by Policy Module")
    assert "0x80094800" in outcome.reason


def test_the_template_and_nothing_else_is_asked_for(pages: Pages) -> None:
    request = signing_request(NAMES)
    adcs(pages).submit(request)
    template, csr, mode = pages.requests[-1]
    assert (template, mode) == ("WebServer", "newreq")
    assert csr == x509.load_der_x509_csr(request.csr)


# Answers that the pages do not give


def scripted(page: str, later: str = "", status: int = 200) -> Any:
    """A server that needs no login: `page` to certfnsh.asp, `later` with `status` to everything else."""

    def behave(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        first = "certfnsh" in handler.path
        body = (page if first else later).encode()
        handler.send_response(200 if first else status)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def outcome_of(page: str, later: str = "", status: int = 200) -> Outcome:
    with hostile_server(scripted(page, later, status)) as server:
        return adcs(server).submit(signing_request(NAMES))


def collected(page: str) -> Outcome:
    with hostile_server(scripted("", page)) as server:
        return adcs(server).collect(signing_request(NAMES), "25")


def test_a_certificate_that_cannot_be_fetched_at_once_is_not_lost() -> None:
    outcome = outcome_of("<a href='certnew.cer?ReqID=41&Enc=b64'>", "", 500)
    assert isinstance(outcome, Pending)
    assert outcome.reference == "41"


def test_a_page_in_another_language_still_tells_denied_from_pending() -> None:
    denied = "Die Dispositionsmeldung. The disposition message is &quot;Abgelehnt 0x80094012&quot;. Ihre ID ReqID=7"
    assert outcome_of(denied) == Rejected("Abgelehnt 0x80094012")
    waiting = outcome_of("<script>location='certckpn.asp?ReqID=7'</script> Zertifikat steht aus")
    assert isinstance(waiting, Pending)
    assert waiting.reference == "7"


# What Microsoft's pages say in any language: the ids of their elements, and the disposition's code (certcli.h).
FRENCH_PENDING = """<P ID=locPageTitle> <B> Certificat en attente </B>
<P ID=locInfoNewReq> Votre demande a été reçue. </P>
<P ID=locInfoReqID>\nLe numéro de votre demande est 25.\n</P>"""
FRENCH_DENIED = """<P ID=locPageTitle> <B> Demande de certificat refusée </B>
<P ID=locDenied> Votre demande a été refusée. </P>
<P ID=locInfoReqIDandReason> Le numéro de votre demande est 25. Le message est : « Refusé par le module ». </P>"""
FRENCH_ERROR = """<P ID=locPageTitle> <B> Erreur </B> <DL> <DT ID=locDispLabel><B>Disposition :</B></DT><DD>
\t\t{code} <LocID ID=locDispSpacer>-</LocID> <LocID ID=locDispUnknown>(inconnu)</LocID></DD>
<DT ID=locDispMsgLabel><B>Message de disposition :</B></DT><DD>\n\t\t{message}\n\t</DD> </DL>"""


def test_a_request_waits_in_any_language() -> None:
    waiting = outcome_of(FRENCH_PENDING)
    assert isinstance(waiting, Pending)
    assert waiting.reference == "25"
    still = collected(FRENCH_ERROR.format(code=5, message="En attente de traitement"))
    assert isinstance(still, Pending)
    assert still.reference == "25"


@pytest.mark.parametrize("code", [2, 6])
def test_a_request_is_denied_in_any_language(code: int) -> None:
    denied = outcome_of(FRENCH_DENIED)
    assert isinstance(denied, Rejected)
    assert "Refusé par le module" in denied.reason
    refused = FRENCH_ERROR.format(code=code, message="Refusé par EXEMPLE\\Administrateur")
    assert collected(refused) == Rejected("Refusé par EXEMPLE\\Administrateur")
    without_words = FRENCH_ERROR.format(code=code, message="<LocID ID=locDispMsgNone>(aucun)</LocID>")
    assert collected(without_words) == Rejected("the request was denied, or its certificate revoked")


@pytest.mark.parametrize("digits", ["9" * 5000, "\u0667"])
def test_a_request_id_that_is_no_number_of_ad_cs_is_none(digits: str) -> None:
    for page in ("<a href='certnew.cer?ReqID={}&Enc=b64'>", "Your Request Id is {}."):
        assert isinstance(outcome_of(page.format(digits)), Unavailable)


@pytest.mark.parametrize(
    "message",
    [
        "Error Constructing or Publishing Certificate  Invalid Issuance Policies. 0x800b0113 (-2146762477)",
        "Error Archiving Private Key  Cannot archive private key. The certification authority is not ready.",
    ],
)
def test_a_request_that_failed_is_not_waited_for(message: str) -> None:
    outcome = outcome_of(DENIED.format(id=7, message=message))
    assert isinstance(outcome, Rejected)
    assert outcome.reason.startswith("Error ")


@pytest.mark.parametrize("page", ["<" * 900_000, "disposition message:" + "\n" * 900_000 + '""'])
def test_a_page_made_to_be_read_slowly_is_not(page: str) -> None:
    begin = time.process_time()
    assert isinstance(outcome_of(page), Unavailable)
    assert time.process_time() - begin < 5


def test_an_authority_that_cannot_be_reached_behind_its_pages_is_unavailable() -> None:
    outcome = outcome_of('The disposition message is "The RPC server is unavailable. 0x800706ba"')
    assert outcome == Unavailable("The RPC server is unavailable. 0x800706ba")


NEVER_SET = "<LocID ID=locDispNeverSet>(never set)</LocID>"
REQUEST_FAILED = "1 <LocID ID=locDispSpacer>-</LocID> <LocID ID=locDispError>Error</LocID>"
NO_MESSAGE = "<LocID ID=locDispMsgNone>(none)</LocID>"
NO_RESULT = "The operation completed successfully. 0x0 (WIN32: 0)"
RPC_DOWN = "The RPC server is unavailable. 0x800706ba (WIN32: 1722 RPC_S_SERVER_UNAVAILABLE)"


def error_page(disposition: str, message: str, result: str, label: str) -> str:
    """certrser.asp: the call to the CA failed, or the CA failed over the request."""
    return f"""<P ID=locPageTitle> <B> Error </B> <DL>
<DT ID=locDispLabel><Font Size=-1><B>Disposition:</B></Font></DT><DD>\n\t\t{disposition}\n\t</DD>
<DT ID=locDispMsgLabel><Font Size=-1><B>{label}</B></Font></DT><DD>\n\t\t{message}\n\t</DD>
<DT ID=locResultLabel><Font Size=-1><B>Result:</B></Font></DT><DD>\n\t\t{result}\n\t</DD> </DL>"""


@pytest.mark.parametrize("label", ["Disposition message:", "Message de disposition :"])
@pytest.mark.parametrize("result", [RPC_DOWN, "Access is denied. 0x80070005 (WIN32: 5 ERROR_ACCESS_DENIED)"])
def test_an_authority_that_does_not_answer_its_own_pages_is_unavailable_in_their_words(result: str, label: str) -> None:
    page = error_page(NEVER_SET, NO_MESSAGE, result, label)
    assert outcome_of(page) == Unavailable(result)
    assert collected(page) == Unavailable(result), "the order is not lost"


def test_an_order_that_failed_at_the_authority_or_is_not_known_there_is_placed_anew() -> None:
    message = "Error Constructing or Publishing Certificate The domain could not be contacted. 0x8007054b (WIN32: 1355)"
    failed = error_page(REQUEST_FAILED, message, NO_RESULT, "Disposition message:")
    assert outcome_of(failed) == Unavailable(message)
    assert collected(failed) == Unavailable(message, restart=True)
    unknown = "The certificate property is empty. 0x80094004 (-2146877436 CERTSRV_E_PROPERTY_EMPTY)"
    lost = collected(error_page(NEVER_SET, NO_MESSAGE, unknown, "Disposition message:"))
    assert lost == Unavailable(unknown, restart=True)


def test_a_denial_for_want_of_a_revocation_list_passes() -> None:
    message = "Denied by Policy Module  0x80092013, The revocation server was offline. (-2146885613)"
    assert outcome_of(DENIED.format(id=7, message=message)) == Unavailable(message.replace("  ", " "))
    lost = collected(FRENCH_ERROR.format(code=2, message="Serveur hors connexion. 0x80092013"))
    assert lost == Unavailable("Serveur hors connexion. 0x80092013", restart=True)


def test_a_reference_that_is_no_request_id_is_never_sent(pages: Pages) -> None:
    before = len(pages.seen)
    with pytest.raises(ValueError, match="invalid literal"):
        adcs(pages).collect(signing_request(NAMES), "1&Enc=../../secret")
    assert len(pages.seen) == before


def test_a_start_page_of_something_else_is_not_healthy() -> None:
    with (
        hostile_server(scripted("", "<html>Welcome to IIS</html>")) as server,
        pytest.raises(ConnectorError, match="not a web enrollment page"),
    ):
        adcs(server).check()


# Settings


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"username": "u"}, "go together"),
        ({}, "login ntlm needs username and password"),
        ({"login": "basic"}, "login basic needs"),
        ({"login": "digest", "username": "u", "password": "top-secret"}, "login"),
        ({"username": "u", "password": "top-secret", "template": "A\r\nSAN:dns=evil"}, "template"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_their_values(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault) as caught:
        AdcsSettings.model_validate({"url": "https://ca.example.com", "template": "WebServer", **settings})
    assert "top-secret" not in str(caught.value)


def test_kerberos_may_take_the_ticket_of_the_machine() -> None:
    AdcsSettings.model_validate({"url": "https://ca.example.com", "template": "WebServer", "login": "kerberos"})
