"""Files that a command is given: one way to read them for all commands. `-` is standard input."""

import json
import sys
from pathlib import Path
from typing import Any

LARGEST = 16 * 1024 * 1024  # bytes
SHOWN = 50  # faults of one file


class Malformed(Exception):
    """A file is not as it must be, or cannot be read; `faults` has a line for each fault."""

    def __init__(self, file: Path | str, faults: list[str]) -> None:
        self.faults = faults
        lines = [f"{file}: {fault}" for fault in faults[:SHOWN]]
        more = [f"{file}: … and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        super().__init__("\n".join(lines + more))


def read_bytes(file: Path, *, may_be_empty: bool = False) -> bytes:
    """The file's content. Raises Malformed; also for a directory, and for what never ends, such as a device."""
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with file.open("rb") as stream:
                content = stream.read(LARGEST + 1)
    except OSError as error:
        raise Malformed(file, [error.strerror or type(error).__name__]) from None
    if len(content) > LARGEST:
        raise Malformed(file, [f"has more than {LARGEST // (1024 * 1024)} MiB"])
    if not content and not may_be_empty:
        raise Malformed(file, ["is empty"])
    return content


def read_text(file: Path, *, may_be_empty: bool = False) -> str:
    """The file's text, without a byte order mark. Raises Malformed."""
    content = read_bytes(file, may_be_empty=may_be_empty)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Malformed(file, ["is UTF-16: save it as UTF-8"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Malformed(file, [f"is not UTF-8 (byte 0x{content[error.start]:02x} in line {line})"]) from None


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in the file. Raises Malformed; also for a name that is there twice."""
    text = read_text(file)
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair could not be sent
    except UnicodeEncodeError:
        raise Malformed(file, ["is no JSON: it has half of a surrogate pair (\\ud800 to \\udfff)"]) from None
    except ValueError as error:
        raise Malformed(file, [f"is no JSON: {error}"]) from None
    except RecursionError:
        raise Malformed(file, ["is nested too deeply"]) from None
    if not isinstance(found, dict):
        raise Malformed(file, ["is no JSON object: it must be within braces"])
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number in JSON")
