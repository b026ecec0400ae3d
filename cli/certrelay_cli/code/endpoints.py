"""Endpoints (`HOST:PORT`) and the patterns that allow them, as the app reads them; a test compares both."""

import ipaddress
import re

_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_PORT = re.compile("[1-9][0-9]{0,4}")


def normalised(text: str) -> str:
    """The endpoint as patterns are compared with it. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.lower().removesuffix(".")
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise ValueError(f"{text!r} is no endpoint: write HOST:PORT, such as www.contoso.example:443")
    if host.startswith("[") and host.endswith("]"):
        return f"[{ipaddress.IPv6Address(host[1:-1].partition('%')[0])}]:{port}"
    if not _NAME.fullmatch(host):
        raise ValueError(f"{text!r} needs a DNS name in ASCII (xn--… for others), such as www.contoso.example:443")
    last = host.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):  # what resolvers read as an IPv4 address, in all its spellings
        host = str(ipaddress.IPv4Address(host))
    return f"{host}:{port}"


def allowed(pattern: str, endpoint: str) -> bool:
    """Whether a pattern of the settings allows the normalised endpoint. `*.NAME:PORT` is every name below."""
    if not pattern.startswith("*."):
        return pattern == endpoint
    return endpoint.endswith(pattern[1:]) and len(endpoint) >= len(pattern)
