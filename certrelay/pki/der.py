"""Split DER and BER (ITU-T X.690) into elements, without interpreting them.

Every function takes time linear in the size of its input.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

INTEGER, OCTET_STRING, OBJECT_IDENTIFIER, SEQUENCE, SET, CONTEXT_0 = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0
MAX_ELEMENTS, MAX_DEPTH = 10_000, 40

_CONSTRUCTED, _INDEFINITE, _END = 0x20, 0x80, b"\0\0"


@dataclass(frozen=True, slots=True)
class Element:
    """`tag` is the identifier octet (0x30 for a SEQUENCE); `whole` includes header and content."""

    tag: int
    content: bytes = field(repr=False)
    whole: bytes = field(repr=False)


def element(data: bytes, place: int = 0) -> Element:
    """The element that begins at `place`. Raises ValueError if it is cut off, or is neither DER nor BER."""
    start, size = _header(data, place)
    if size is not None:
        end = inner_end = start + size
    else:
        end = _end_of_indefinite(data, start)
        inner_end = end - len(_END)
    if end > len(data):
        raise ValueError("cut off")
    return Element(data[place], data[start:inner_end], data[place:end])


def children(data: bytes) -> Iterator[Element]:
    """The consecutive elements in `data`. Raises ValueError, also for more than 10,000 elements."""
    place = 0
    for _ in range(MAX_ELEMENTS):
        if place >= len(data):
            return
        found = element(data, place)
        yield found
        place += len(found.whole)
    if place < len(data):
        raise ValueError("too many elements")


def inside(data: bytes) -> list[Element]:
    """The children of the one element in `data`. Raises ValueError."""
    return list(children(element(data).content))


def octets(found: Element) -> bytes:
    """The content of an OCTET STRING, which may be in pieces (BER) or have an implicit tag. Raises ValueError."""
    if not found.tag & _CONSTRUCTED:
        return found.content
    return b"".join(octets(piece) for piece in _shallow(found))


def integer(found: Element) -> int:
    """The value of an INTEGER. Raises ValueError for another kind of element."""
    if found.tag != INTEGER:
        raise ValueError("not an INTEGER")
    return int.from_bytes(found.content, signed=True)


def oid(dotted: str) -> bytes:
    """The content octets of an OBJECT IDENTIFIER in dotted notation (X.690, section 8.19)."""
    first, second, *others = map(int, dotted.split("."))
    made = b""
    for number in (40 * first + second, *others):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        made += bytes(reversed(groups))
    return made


def encoded(tag: int, content: bytes) -> bytes:
    """An element with a definite length of minimal size."""
    size = len(content)
    digits = b"" if size < 0x80 else size.to_bytes((size.bit_length() + 7) // 8)
    length = bytes([0x80 | len(digits)]) + digits if digits else bytes([size])
    return bytes([tag]) + length + content


def as_der(found: Element, depth: int = 0) -> bytes:
    """The element re-encoded with definite lengths and each OCTET STRING in one piece. Raises ValueError."""
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if not found.tag & _CONSTRUCTED:
        return encoded(found.tag, found.content)
    if found.tag == OCTET_STRING | _CONSTRUCTED:
        return encoded(OCTET_STRING, octets(found))
    return encoded(found.tag, b"".join(as_der(child, depth + 1) for child in children(found.content)))


def element_size(data: bytes) -> int | None:
    """The size in bytes of the first element in `data`, header included; None if its length is indefinite."""
    if len(data) < 2 or data[1] == _INDEFINITE:
        return None
    if data[1] < _INDEFINITE:
        return 2 + data[1]
    digits = data[1] & 0x7F
    return 2 + digits + int.from_bytes(data[2 : 2 + digits])


def content(data: bytes) -> bytes:
    """`data` without the header of its first element, which need not be complete."""
    return data[2:] if data[1:2] <= b"\x80" else data[2 + (data[1] & 0x7F) :]


def _header(data: bytes, place: int) -> tuple[int, int | None]:
    """Where the content begins, and its size; None for an indefinite length."""
    if place + 2 > len(data) or data[place] & 0x1F == 0x1F:  # no structure of ours has tag numbers above 30
        raise ValueError("cut off, or not DER")
    length, start = data[place + 1], place + 2
    if length < _INDEFINITE:
        return start, length
    if length == _INDEFINITE:
        if not data[place] & _CONSTRUCTED:
            raise ValueError("not DER")
        return start, None
    digits = length & 0x7F
    if digits > 4 or start + digits > len(data):
        raise ValueError("cut off, or not DER")
    return start + digits, int.from_bytes(data[start : start + digits])


def _end_of_indefinite(data: bytes, place: int) -> int:
    """The place after the end-of-contents octets of the element whose content begins at `place`."""
    depth = 1
    for _ in range(MAX_ELEMENTS):
        if data[place : place + 2] == _END:
            place += 2
            depth -= 1
            if not depth:
                return place
            continue
        start, size = _header(data, place)
        depth += size is None
        place = start if size is None else start + size
    raise ValueError("too many elements")


def _shallow(found: Element) -> Iterator[Element]:
    """The pieces of a constructed string, which are primitive."""
    for piece in children(found.content):
        if piece.tag != OCTET_STRING:
            raise ValueError("not a string")
        yield piece
