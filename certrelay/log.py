"""Log lines with fields: operation, vault, certificate and authority are fields, not parts of a sentence.

A field is an attribute of the LogRecord, for exporters such as OpenTelemetry's. It is also appended to the message,
because the Functions host keeps only the text: `the connector raised [operation=… authority=corp]`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_fields: ContextVar[dict[str, str]] = ContextVar("fields", default={})  # noqa: B039 - replaced, never changed


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the fields of `about`."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Like Logger.log; called by all other methods, too."""
        fields = _fields.get()
        if fields and self.isEnabledFor(level):
            written = " ".join(f"{key}={value}" for key, value in fields.items())
            kwargs["extra"] = {**kwargs.get("extra", {}), **fields}
            msg, args = f"{msg} [%s]", (*args, written)
        self.logger.log(level, msg, *args, **kwargs)


def logger(name: str) -> Log:
    """The logger `certrelay.NAME`."""
    return Log(logging.getLogger(f"certrelay.{name}"), None)


@contextmanager
def about(**fields: str | None) -> Iterator[None]:
    """Add fields to every line that is logged within; None leaves one out."""
    token = _fields.set({**_fields.get(), **{key: value for key, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _fields.reset(token)
