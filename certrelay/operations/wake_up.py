"""Wake-ups: the messages of the queue `signing`. A wake-up names an operation and says nothing else."""

import json
from typing import NamedTuple

from certrelay.storage.operation import CERTIFICATE_NAME


class WakeUp(NamedTuple):
    """The vault's alias, the certificate's name and the operation's id."""

    vault: str
    name: str
    operation: str


def parse(body: bytes) -> WakeUp:
    """The wake-up of a message. Raises ValueError for any other message."""
    try:
        written = json.loads(body)
    except RecursionError:
        raise ValueError("the wake-up is nested too deep") from None
    if not isinstance(written, dict) or written.get("v") != 1:
        raise ValueError("not a wake-up of version 1")
    vault, name, operation = written.get("vault"), written.get("name"), written.get("operation")
    if not (isinstance(vault, str) and isinstance(name, str) and isinstance(operation, str)):
        raise ValueError("the wake-up lacks vault, name or operation")
    if not CERTIFICATE_NAME.fullmatch(name):
        raise ValueError("the wake-up has an invalid certificate name")
    return WakeUp(vault, name, operation)
