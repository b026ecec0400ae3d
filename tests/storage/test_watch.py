"""Times in rows, which other hosts and people have written."""

from datetime import UTC, datetime
from typing import Any

import pytest

from certrelay.storage.watch import time_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("2026-11-23T12:00:00+00:00", NOON),
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23T14:00:00+02:00", NOON),
        ("2026-11-23T12:00:00", datetime(2026, 11, 23, 12).astimezone(UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("", None),
        ("soon", None),
        (5, None),
        (None, None),
    ],
)
def test_a_time_has_a_zone_or_is_none_whatever_is_written(written: Any, found: datetime | None) -> None:
    assert time_of({"at": written}, "at") == found
    assert time_of({}, "at") is None
    assert time_of(None, "at") is None
