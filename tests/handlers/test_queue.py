"""Messages that are no wake-ups: the first queue refuses them, the list of poison messages keeps them (check 10)."""

import logging

import azure.functions as func
import pytest

from certrelay.watch import poison
from handlers import queue
from tests.world import World

NO_WAKE_UPS = [
    b"not json", b"\xff\xfe", b"[]", b"7", b'{"v": 2}', b'{"v": 1, "vault": 7, "name": "www", "operation": "x"}',
    b'{"v": 1, "vault": "main", "name": "..", "operation": "x"}', b'{"v": 1, "vault": "main", "name": "www"}',
    b"[" * 20_000,
    *(b'{%b"vault": "main", "name": "www", "operation": "x"}' % v for v in (b'"v": 2, ', b'"v": "1", ', b"")),
]  # fmt: skip


def message(body: bytes) -> func.QueueMessage:
    return func.QueueMessage(id="message-7", body=body)


@pytest.mark.parametrize("body", NO_WAKE_UPS)
def test_a_message_that_is_no_wake_up_is_refused_and_then_kept_with_one_line(
    body: bytes, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue, "services", lambda: world.services)
    advance, fail = queue.advance_operation, queue.fail_operation
    with pytest.raises(ValueError):
        advance(message(body))
    with caplog.at_level(logging.INFO):
        fail(message(body))
    (kept,) = poison.messages(world.services)
    assert kept.queue == "signing"
    assert kept.reason in ("ValueError", "JSONDecodeError", "UnicodeDecodeError")
    (record,) = (record for record in caplog.records if record.name == "certrelay.watch")
    assert record.levelno == logging.ERROR
    assert kept.id in record.getMessage()
    assert body[:9].decode("latin-1") not in record.getMessage() or body == b"7"
