"""The setting `dns` of an ACME authority: which zone is changed how."""

import difflib
import functools
import importlib.util
import ipaddress
import re
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from certrelay.connectors.settings import ConnectorSettings


def _host_and_port(address: str) -> str:
    """`192.0.2.1` or `192.0.2.1:5353`; IPv6 with a port in brackets."""
    host_port(address)
    return address


def host_port(address: str) -> tuple[str, int]:
    """Raises ValueError."""
    if address.count(":") > 1 and not address.startswith("["):
        address = f"[{address}]"
    host, _, port = address.rpartition(":") if address[-1:].isdigit() and ":" in address else (address, "", "53")
    if not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or not 0 < int(port) < 65_536:
        raise ValueError("must have a port from 1 to 65535, such as 192.0.2.1:53")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        raise ValueError(
            "must be an IP address, with a port if need be, such as 192.0.2.1 or [2001:db8::1]:53"
        ) from None


def _known_service(service: str) -> str:
    known = _services()
    if service not in known:
        near = difflib.get_close_matches(service, known, 1) or ["cloudflare"]
        raise ValueError(f"is not a service that dns-lexicon knows, such as {near[0]}")
    extra = re.compile(rf"([\w.-]+).*extra == [\"']{service}[\"']")
    needed = [found[1] for line in metadata.requires("dns-lexicon") or () if (found := extra.match(line))]
    if lacking := [package for package in needed if not _is_installed(package)]:
        raise ValueError(f"needs packages that are not installed: {', '.join(lacking)}")
    return service


@functools.cache
def _services() -> list[str]:
    """The services of dns-lexicon, by its files: to import it takes longer than to start the app."""
    library = importlib.util.find_spec("lexicon")
    folders = (library and library.submodule_search_locations) or ()
    files = [path for folder in folders for path in (Path(folder) / "_private" / "providers").glob("[a-z]*.py")]
    return sorted(path.stem for path in files if path.stem != "base")


def _is_installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


type ServerAddress = Annotated[str, AfterValidator(_host_and_port)]


class NoDns(ConnectorSettings):
    """For authorities that authorize the account itself."""

    provider: Literal["none"] = "none"


class LookedUp(ConnectorSettings):
    """`resolvers`: recursive servers (address or address:port) that find zones and aliases; else the system's.

    `name_servers`: where a record must be seen, be they the zone's or resolvers; else those that the zone names.
    """

    resolvers: tuple[ServerAddress, ...] = ()
    name_servers: tuple[ServerAddress, ...] = ()


class Rfc2136Dns(LookedUp):
    """Dynamic update (RFC 2136) over TCP, signed with TSIG (RFC 8945). `key_secret` is in base64."""

    provider: Literal["rfc2136"]
    server: ServerAddress
    key_name: str = Field(min_length=1)
    key_secret: SecretStr
    key_algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    ttl: int = Field(default=60, ge=1, le=3600)


class AzureDns(LookedUp):
    """Azure DNS with the app's managed identity, which needs the role DNS Zone Contributor on the zone."""

    provider: Literal["azure"]
    subscription_id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$", examples=["01234567-89ab-cdef-0123-456789abcdef"])
    resource_group: str = Field(min_length=1, max_length=90, pattern=r"^[-\w._()]+$", examples=["dns-rg"])
    ttl: int = Field(default=60, ge=1, le=3600)


class LexiconDns(LookedUp):
    """Any provider of dns-lexicon: `service` is its name there (`cloudflare`, `route53`, `powerdns` …), `options` and
    `secrets` what it asks for on its command line, without the dashes (`auth_token`)."""

    provider: Literal["lexicon"]
    service: Annotated[str, AfterValidator(_known_service)] = Field(
        pattern=r"^[a-z0-9_]{1,40}$", examples=["cloudflare"]
    )
    options: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    ttl: int = Field(default=60, ge=1, le=3600)


DnsSettings = Annotated[NoDns | Rfc2136Dns | AzureDns | LexiconDns, Field(discriminator="provider")]
