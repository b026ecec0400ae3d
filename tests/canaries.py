"""No test may let a secret into a log line, of whatever level and library: each secret in a test has `canary` in it."""

import logging
import re
from collections.abc import Iterator

import pytest

SECRET = re.compile(r"canary|PRIVATE KEY-----\s*[A-Za-z0-9+/=]{20}|AccountKey=(?!\*)|Bearer ey|hvs\.[A-Za-z0-9]{8}")


class Watch(logging.Handler):
    """Reads each line as the product would log it, and keeps those with a secret."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []
        self._formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        text = self._formatter.format(record)
        if SECRET.search(text):
            self.found.append(text[:500])


@pytest.fixture(autouse=True)
def no_secret_in_any_log(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every logger writes at DEBUG; what a test itself sees in `caplog` stays at WARNING unless it asks for more.

    The Azure SDKs write at WARNING, as in the app: a line for each request and each response takes a fifth of the time
    of most tests. tests/test_log.py reads these."""
    root, watch = logging.getLogger(), Watch()
    for logger, level in ((root, logging.DEBUG), (logging.getLogger("azure"), logging.WARNING)):
        if logger.level != level:  # each change makes every logger forget what it writes
            logger.setLevel(level)
    caplog.handler.setLevel(logging.WARNING)
    reported = request.config.pluginmanager.getplugin("logging-plugin").report_handler
    reported.setLevel(logging.INFO)
    root.addHandler(watch)
    yield
    root.removeHandler(watch)
    caplog.handler.setLevel(logging.NOTSET)
    assert watch.found == [], "secrets in log lines"
