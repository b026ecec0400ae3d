"""`dev.py doctor` where nothing can be asked, or what answers is no CertRelay: 2, never 1, which means findings."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sandbox import doctor

FINDING = '{"what": "clock", "ok": %s, "detail": "as the machine", "mend": ""}'
ANSWERS = {
    "well": f'{{"findings": [{FINDING % "true"}]}}',
    "wrong": f'{{"findings": [{FINDING % "true"}, {FINDING % "false"}]}}',
    "list": "[]",
    "null": "null",
    "text": '{"findings": "none"}',
    "nothing": '{"findings": null}',
    "foreign": '{"findings": [{"title": "of another program"}]}',
    "page": "<html>Sign in</html>",
}


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = ANSWERS[self.path.split("/")[1]].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("answer", "code"), [("well", 0), ("wrong", 1)])
def test_the_exit_code_says_whether_there_are_findings(app: str, answer: str, code: int) -> None:
    assert doctor.main(["--app", f"{app}/{answer}"], {}) == code


@pytest.mark.parametrize("answer", ["list", "null", "text", "nothing", "foreign", "page"])
def test_an_answer_that_is_not_the_doctors_is_no_finding(
    app: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(["--app", f"{app}/{answer}"], {}) == 2
    assert "doctor: the app could not be asked" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["https://[::1", "http://127.0.0.1:port", "https://", "https://a\x00b", "http://a.example"]
)
def test_an_address_that_is_none_is_no_finding(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--app", url], {}) == 2
    assert capsys.readouterr().err.startswith("doctor: ")


@pytest.mark.parametrize("key", ["schlüssel", "a\nb"])
def test_a_key_that_fits_into_no_header_is_no_finding(app: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--app", f"{app}/well"], {"KEY": key}) == 2
    assert key not in capsys.readouterr().err
