"""What a caller sees of an error that nobody foresaw: its correlation id, and nothing else (check 39)."""

import json
import logging

import azure.functions as func
import pytest

from handlers.http import Answer, endpoint

CANARY = "7f3a: for the log only"


class ServiceError(Exception):
    """As an SDK raises it: with the request and its secrets in the text."""


def asked() -> func.HttpRequest:
    headers = {"x-correlation-id": "incident-7"}
    return func.HttpRequest("POST", "http://x/api/x", headers=headers, body=b"")


@pytest.mark.parametrize("kind", [ServiceError, ValueError, KeyError, RecursionError, MemoryError, AssertionError])
def test_an_unexpected_error_shows_its_correlation_id_and_nothing_else(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    @endpoint
    def failing(req: func.HttpRequest) -> Answer:
        raise kind(CANARY) from OSError(CANARY)

    with caplog.at_level(logging.ERROR):
        answer = failing(asked())
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert json.loads(answer.get_body()) == {
        "type": "about:blank", "title": "Internal error", "status": 500, "correlation_id": "incident-7",
    }  # fmt: skip
    assert CANARY not in str(dict(answer.headers))
    (record,) = caplog.records
    assert record.exc_info is not None, "people find the cause in the log"
    assert "incident-7" in record.getMessage() + str(record.__dict__)
