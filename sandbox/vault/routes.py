"""Every operation of the data plane: method, path, name, permission and handler."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from sandbox.vault import backup, certificates, deleted, issuers, keys, operations, secrets, standalone
from sandbox.vault.call import Handler
from sandbox.vault.errors import KeyVaultError, bad_parameter

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")


@dataclass(frozen=True)
class Route:
    """One operation. In `path` a segment in braces is a parameter."""

    method: str
    path: tuple[str, ...]
    operation: str
    permission: str
    handler: Handler


def _route(line: str, handler: Handler) -> Route:
    method, path, operation, permission = line.split()
    return Route(method, tuple(path.split("/")), operation, permission, handler)


ROUTES = [
    _route("GET certificates GetCertificates certificates/list", certificates.list_all),
    _route("POST certificates/{name}/create CreateCertificate certificates/create", certificates.create),
    _route("POST certificates/{name}/import ImportCertificate certificates/import", certificates.import_),
    _route("GET certificates/{name} GetCertificate certificates/get", certificates.get),
    _route("GET certificates/{name}/{version} GetCertificate certificates/get", certificates.get),
    _route("PATCH certificates/{name} UpdateCertificate certificates/update", certificates.update),
    _route("PATCH certificates/{name}/{version} UpdateCertificate certificates/update", certificates.update),
    _route("GET certificates/{name}/versions GetCertificateVersions certificates/list", certificates.list_versions),
    _route("GET certificates/{name}/policy GetCertificatePolicy certificates/get", certificates.get_policy),
    _route("PATCH certificates/{name}/policy UpdateCertificatePolicy certificates/update", certificates.update_policy),
    _route("GET certificates/{name}/pending GetCertificateOperation certificates/get", operations.get),
    _route("PATCH certificates/{name}/pending UpdateCertificateOperation certificates/update", operations.update),
    _route("DELETE certificates/{name}/pending DeleteCertificateOperation certificates/delete", operations.delete),
    _route("POST certificates/{name}/pending/merge MergeCertificate certificates/create", operations.merge),
    _route("DELETE certificates/{name} DeleteCertificate certificates/delete", deleted.delete),
    _route("POST certificates/{name}/backup BackupCertificate certificates/backup", backup.backup),
    _route("POST certificates/restore RestoreCertificate certificates/restore", backup.restore),
    _route("GET deletedcertificates GetDeletedCertificates certificates/list", deleted.list_all),
    _route("GET deletedcertificates/{name} GetDeletedCertificate certificates/get", deleted.get),
    _route("POST deletedcertificates/{name}/recover RecoverDeletedCertificate certificates/recover", deleted.recover),
    _route("DELETE deletedcertificates/{name} PurgeDeletedCertificate certificates/purge", deleted.purge),
    _route("GET certificates/issuers GetCertificateIssuers certificates/listissuers", issuers.list_issuers),
    _route("PUT certificates/issuers/{issuer} SetCertificateIssuer certificates/setissuers", issuers.set_issuer),
    _route("GET certificates/issuers/{issuer} GetCertificateIssuer certificates/getissuers", issuers.get_issuer),
    _route(
        "PATCH certificates/issuers/{issuer} UpdateCertificateIssuer certificates/setissuers", issuers.update_issuer
    ),
    _route(
        "DELETE certificates/issuers/{issuer} DeleteCertificateIssuer certificates/deleteissuers", issuers.delete_issuer
    ),
    _route("PUT certificates/contacts SetCertificateContacts certificates/managecontacts", issuers.set_contacts),
    _route("GET certificates/contacts GetCertificateContacts certificates/managecontacts", issuers.get_contacts),
    _route(
        "DELETE certificates/contacts DeleteCertificateContacts certificates/managecontacts", issuers.delete_contacts
    ),
    _route("GET secrets/{name} GetSecret secrets/get", secrets.get),
    _route("GET secrets/{name}/{version} GetSecret secrets/get", secrets.get),
    _route("PUT secrets/{name} SetSecret secrets/set", secrets.managed),
    _route("PATCH secrets/{name}/{version} UpdateSecret secrets/set", secrets.managed),
    _route("DELETE secrets/{name} DeleteSecret secrets/delete", secrets.managed),
    _route("GET secrets GetSecrets secrets/list", secrets.list_all),
    _route("GET secrets/{name}/versions GetSecretVersions secrets/list", secrets.list_versions),
    _route("GET keys GetKeys keys/list", keys.list_all),
    _route("GET keys/{name}/versions GetKeyVersions keys/list", standalone.list_versions),
    _route("GET keys/{name} GetKey keys/get", standalone.get),
    _route("GET keys/{name}/{version} GetKey keys/get", standalone.get),
    _route("POST keys/{name}/sign Sign keys/sign", standalone.sign),
    _route("POST keys/{name}/{version}/sign Sign keys/sign", standalone.sign),
    _route("POST keys/{name}/create CreateKey keys/create", standalone.create),
    _route("PATCH keys/{name} UpdateKey keys/update", standalone.update),
    _route("PATCH keys/{name}/{version} UpdateKey keys/update", standalone.update),
    _route("PUT keys/{name} ImportKey keys/import", keys.managed),
    _route("DELETE keys/{name} DeleteKey keys/delete", keys.managed),
]


def segments(raw_path: str) -> list[str]:
    """The decoded parts of a path. Slashes at its ends are ignored; empty parts inside are kept."""
    return [unquote(part) for part in raw_path.strip("/").split("/")]


def find(method: str, parts: Sequence[str]) -> tuple[Route, dict[str, str]]:
    """The route of a request and its path parameters. Raises 404, 405 and, for an invalid name, 400."""
    matching = [route for route in ROUTES if _matches(route.path, parts)]
    if not matching:
        raise KeyVaultError(404, "NotFound", f"The requested resource /{'/'.join(parts)[:200]} does not exist.")
    # Fixed segments take precedence over parameters: `certificates/contacts` is not a certificate.
    rank = max(_rank(route) for route in matching)
    chosen = [route for route in matching if _rank(route) == rank]
    route = next((route for route in chosen if route.method == method), None)
    if route is None or any(not part for part in parts):
        last = parts[-1] if len(parts) > 2 else ""
        raise KeyVaultError(405, "MethodNotAllowed", f"Method {method} does not allow operation '{last[:127]}'")
    params = {key[1:-1]: part for key, part in zip(route.path, parts, strict=True) if key.startswith("{")}
    for key in ("name", "issuer"):
        if key in params and not _NAME.fullmatch(params[key]):
            raise bad_parameter(f"The request URI contains an invalid name: {params[key][:200]}")
    return route, params


def _matches(path: Sequence[str], parts: Sequence[str]) -> bool:
    return len(path) == len(parts) and all(
        wanted.startswith("{") or wanted == part.lower() for wanted, part in zip(path, parts, strict=True)
    )


def _rank(route: Route) -> list[bool]:
    return [not part.startswith("{") for part in route.path]
