"""What an endpoint does with what it did not expect: an exception, a body that is too large."""

import json
import logging

import pytest

from certrelay.certificates import create, read
from certrelay.errors import MAX_FAULTS, Fault, Invalid
from handlers.http import MAX_BODY_BYTES
from tests.handlers.in_process import InProcess
from tests.world import World
from tests.world import create as open_operation

WORDS = "a row of the table hush-7f3a"


@pytest.fixture
def functions(world: World, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(world, monkeypatch)


@pytest.mark.parametrize("error", [ValueError(WORDS), KeyError(WORDS), RecursionError(WORDS), OSError(5, WORDS)])
def test_an_exception_nobody_foresaw_is_told_to_the_log_only(
    functions: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(read, "detail", broken)
    answer = functions.call("GET", "vaults/main/certificates/www", **{"x-correlation-id": "abc-1"})
    assert answer is not None
    assert answer.status == 500
    problem = {"type": "about:blank", "title": "Internal error", "status": 500, "correlation_id": "abc-1"}
    assert answer.json() == problem
    assert WORDS not in repr(answer)
    assert type(error).__name__ not in repr(answer)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "correlation=abc-1" in record.getMessage()
    assert WORDS in caplog.text


def test_a_body_of_a_mebibyte_is_read_and_one_of_a_byte_more_is_not(
    functions: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "create", lambda *_, **__: pytest.fail("it was read"))
    path = "vaults/main/certificates/www/create"
    for size, told in (
        (MAX_BODY_BYTES, "is not a known field"),
        (MAX_BODY_BYTES + 1, "at most 1048576 are"),
    ):
        start = b'{"unknown": 1'
        body = start + b" " * (size - len(start) - 1) + b"}"
        assert len(body) == size
        answer = functions.call("POST", path, body)
        assert answer is not None
        assert answer.status == 400
        assert told in answer.json()["detail"]


MANY = {
    "unknown fields": {f"k{number}": 1 for number in range(20_000)},
    "unknown fields inside": {"policy": {f"k{number}": 1 for number in range(20_000)}},
    "tags that are no texts": {"tags": {f"k{number}": 1 for number in range(20_000)}},
    "the longest name": {"k" * 1_000_000: 1},
    "the longest name of a tag": {"tags": {"k" * 1_000_000: 1}},
}


@pytest.mark.parametrize("what", MANY)
def test_a_refusal_is_short_however_many_faults_a_body_has(functions: InProcess, what: str) -> None:
    """80,000 unknown fields took seconds, and the answer had 6 MB."""
    for path in ("certificates/www/create", "certificates/www/import"):
        answer = functions.call("POST", f"vaults/main/{path}", MANY[what])
        assert answer is not None
        assert answer.status == 400
        assert len(answer.body) < 30_000
        if "longest" not in what and path.endswith("create"):
            assert len(answer.json()["errors"]) == MAX_FAULTS
            assert answer.json()["errors"][-1] == {"pointer": "", "detail": f"… and {20_001 - MAX_FAULTS} more faults"}


def test_faults_found_by_hand_are_bounded_too() -> None:
    faults = [Fault(f"/{number}", "no") for number in range(MAX_FAULTS + 1)]
    assert Invalid(faults[:-1]).faults == tuple(faults[:-1])
    assert Invalid(faults).faults == (*faults[: MAX_FAULTS - 1], Fault("", "… and 2 more faults"))


@pytest.mark.parametrize("content_type", ["application/pkcs7-mime", "application/octet-stream", "application/json"])
def test_a_certificate_of_more_than_a_mebibyte_is_refused_in_every_form(
    functions: InProcess, world: World, content_type: str
) -> None:
    spec = create.CertificateSpec(authority="test-ca", dns_names=("www.contoso.example",))
    name = world.name()
    create.create(world.services, "main", name, spec, requested_by="test")
    body = b"0" * (2 * MAX_BODY_BYTES)
    if content_type == "application/json":
        body = json.dumps({"certificate": body.decode()}).encode()
    answer = functions.call(
        "POST", f"vaults/main/certificates/{name}/pending/merge", body, **{"content-type": content_type}
    )
    assert answer is not None
    assert answer.status in (400, 409), answer


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"\x00", b"[" * 100_000, b"{" * 100_000, b'{"a":' * 50_000, b"NaN", b'"x"', b""]
)
def test_what_is_no_json_object_is_refused_in_a_sentence_of_ours(functions: InProcess, body: bytes) -> None:
    answer = functions.call("PUT", "vaults/main/certificates/contacts", body)
    assert answer is not None
    assert answer.status == 400
    (fault,) = answer.json()["errors"]
    assert fault["detail"].startswith(("is not JSON", "must be an object", "is missing; it must be a list"))


@pytest.mark.parametrize("etag", ["*", "of the answer"])
def test_a_change_is_never_answered_as_if_nothing_had_happened(functions: InProcess, world: World, etag: str) -> None:
    name = world.name()
    open_operation(world, name)
    path, cancel = f"vaults/main/certificates/{name}/pending", {"cancellation_requested": True}
    asked = functions.call("PATCH", path, cancel)
    assert asked is not None
    assert "ETag" not in asked.headers
    assert asked.headers["Cache-Control"] == "no-store"
    read_again = functions.call("GET", path)
    assert read_again is not None
    wanted = etag if etag == "*" else read_again.headers["ETag"]
    for method, sent in (("PATCH", cancel), ("DELETE", None)):
        answer = functions.call(method, path, sent, **{"if-none-match": wanted})
        assert answer is not None
        assert answer.status == 200
        assert answer.json()["name"] == name
    unchanged = functions.call("GET", path, **{"if-none-match": "*"})
    assert unchanged is not None
    assert unchanged.status == 304
