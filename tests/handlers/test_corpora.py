"""Files that others made, through the HTTP API: success, or one clear 4xx."""

import base64
from pathlib import Path

import cryptography_vectors
import pytest

from tests.app import App, until

VECTORS = Path(cryptography_vectors.__file__).parent
PASSWORDS = (None, "password", "cryptography")


def files(folder: str, *suffixes: str) -> list[Path]:
    return sorted(path for path in (VECTORS / folder).rglob("*") if path.suffix in suffixes)


def test_every_pkcs12_file_is_imported_or_refused_in_a_sentence(app: App) -> None:
    found, taken = files("pkcs12", ".p12"), 0
    assert len(found) == 31
    for number, path in enumerate(found):
        value = base64.b64encode(path.read_bytes()).decode()
        sentences = set()
        for password in PASSWORDS:
            body = {"value": value} if password is None else {"value": value, "pwd": password}
            answer = app.certificate(f"corpus-{number}", "/import", "POST", body)
            assert answer.status_code in (200, 400), (path.name, answer.text)
            taken += answer.status_code == 200
            sentences |= {fault["detail"] for fault in answer.json().get("errors", ())}
        assert all(5 < len(sentence) < 300 for sentence in sentences), path.name
    assert taken, "some are good"


@pytest.mark.parametrize(
    "folder", ["asymmetric/PKCS8", "asymmetric/Traditional_OpenSSL_Serialization", "x509/requests"]
)
def test_keys_and_requests_without_a_certificate_are_refused(app: App, folder: str) -> None:
    for path in files(folder, ".pem", ".der", ".key"):
        value = base64.b64encode(path.read_bytes()).decode()
        answer = app.certificate("corpus-key", "/import", "POST", {"value": value, "pwd": "x"})
        assert answer.status_code == 400, (path.name, answer.text)


def test_foreign_pkcs7_and_certificates_are_no_answer_to_our_request(app: App) -> None:
    name = app.name()
    body = {"authority": "by-hand", "dns_names": ["corpus.contoso.example"]}
    app.certificate(name, "/create", "POST", body).raise_for_status()
    until(lambda: app.certificate(name, "/pending").json()["step"] == "submitted")
    url = f"{app.settings['APP_URL']}/api/vaults/main/certificates/{name}/pending/merge"
    headers = {"x-functions-key": app.settings["FUNCTION_KEY"], "content-type": "application/pkcs7-mime"}
    found = files("pkcs7", ".pem", ".der", ".p7b") + files("x509/custom", ".pem")[::6]
    for path in found:
        answer = app.client.post(url, content=path.read_bytes(), headers=headers)
        assert answer.status_code == 400, (path.name, answer.text)
    assert app.certificate(name, "/pending").json()["step"] == "submitted", "it still waits"
    app.certificate(name, "/pending", "DELETE").raise_for_status()
