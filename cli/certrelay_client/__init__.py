"""A typed client of CertRelay's HTTP API.

with Client("https://certrelay.contoso.example", EntraId("api://certrelay/.default")) as client:
    operation = client.create_certificate("main", "www", {"authority": "corp", "dns_names": ["www.contoso.example"]})
    client.follow(operation)
"""

from certrelay_client.client import Client
from certrelay_client.errors import (
    BadValue,
    ClientError,
    NoSuchRoute,
    NotFound,
    NotSignedIn,
    Refused,
    TimedOut,
    Unreachable,
)
from certrelay_client.sign_in import EntraId, FunctionKey

__all__ = [
    "BadValue",
    "Client",
    "ClientError",
    "EntraId",
    "FunctionKey",
    "NoSuchRoute",
    "NotFound",
    "NotSignedIn",
    "Refused",
    "TimedOut",
    "Unreachable",
]
