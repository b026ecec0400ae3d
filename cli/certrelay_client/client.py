"""All routes of the API as methods with the names of the OpenAPI document's operations, and what several calls make."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, cast

import httpx

from certrelay_client import request_models as requests
from certrelay_client import response_models as responses
from certrelay_client.errors import TimedOut
from certrelay_client.paging import pages
from certrelay_client.polling import pauses
from certrelay_client.transport import Transport, at

VAULT = "vaults/{vault}"
CERTIFICATE = "vaults/{vault}/certificates/{name}"
DELETED = "vaults/{vault}/deletedcertificates"
ISSUERS = "vaults/{vault}/certificates/issuers"
CONTACTS = "vaults/{vault}/certificates/contacts"
PAGE = 100


class Client:
    """The API of one deployment. Threads may share it; close it after use, or use it in `with`.

    Each method raises Refused (also NotFound, NoSuchRoute), NotSignedIn or Unreachable. `idempotency_key`: the same
    request with the same key is done once."""

    def __init__(
        self,
        endpoint: str,
        auth: httpx.Auth | None = None,
        timeout: float = 60,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._sleep = sleep
        self._transport = Transport(endpoint, auth, timeout, sleep, transport)
        self.endpoint = self._transport.endpoint

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def follow(
        self,
        operation: responses.Operation,
        timeout: float = 3600,
        seen: Callable[[responses.Operation], None] = lambda operation: None,
    ) -> responses.Operation:
        """The operation when it has ended, however it did. `seen` is called with each state that was read.

        Raises TimedOut after `timeout` seconds; the operation goes on."""
        waits = pauses(timeout)
        while operation["status"] == "inProgress":
            if (pause := next(waits, None)) is None:
                text = f"{operation['name']} is still at step {operation['step']}: {operation['status_details']}"
                raise TimedOut(f"{text}; operation {operation['id']} goes on")
            self._sleep(pause)
            operation = self.get_operation(operation["id"])
            seen(operation)
        return operation

    def certificates(self, vault: str, **filters: Any) -> Iterator[responses.CertificateLine]:
        """All certificates of a vault that match the filters of `list_certificates`, page after page."""
        for page in pages(lambda after: self.list_certificates(vault, max=PAGE, continuation=after, **filters)):
            yield from page["value"]

    def create_certificate(
        self, vault: str, name: str, body: requests.CreateCertificate, *, idempotency_key: str | None = None
    ) -> responses.Operation:
        return cast(
            "responses.Operation",
            self._json("POST", at(CERTIFICATE + "/create", vault=vault, name=name), body=body, key=idempotency_key),
        )

    def import_certificate(self, vault: str, name: str, body: requests.ImportCertificate) -> responses.Imported:
        return cast(
            "responses.Imported", self._json("POST", at(CERTIFICATE + "/import", vault=vault, name=name), body=body)
        )

    def get_certificate(self, vault: str, name: str) -> responses.CertificateDetail:
        return cast("responses.CertificateDetail", self._json("GET", at(CERTIFICATE, vault=vault, name=name)))

    def get_certificate_version(self, vault: str, name: str, version: str) -> responses.Certificate:
        return cast(
            "responses.Certificate",
            self._json("GET", at(CERTIFICATE + "/{version}", vault=vault, name=name, version=version)),
        )

    def get_certificate_policy(self, vault: str, name: str) -> responses.Anything:
        return cast("responses.Anything", self._json("GET", at(CERTIFICATE + "/policy", vault=vault, name=name)))

    def list_certificate_versions(self, vault: str, name: str) -> responses.Versions:
        return cast("responses.Versions", self._json("GET", at(CERTIFICATE + "/versions", vault=vault, name=name)))

    def get_certificate_history(self, vault: str, name: str) -> responses.History:
        return cast("responses.History", self._json("GET", at(CERTIFICATE + "/history", vault=vault, name=name)))

    def list_certificates(
        self,
        vault: str,
        *,
        authority: str | None = None,
        issuer: str | None = None,
        expiring_within_days: int | None = None,
        state: str | None = None,
        max: int | None = None,
        continuation: str | None = None,
    ) -> responses.CertificateList:
        return cast(
            "responses.CertificateList",
            self._json(
                "GET",
                at(VAULT + "/certificates", vault=vault),
                query={
                    "authority": authority,
                    "issuer": issuer,
                    "expiring_within_days": expiring_within_days,
                    "state": state,
                    "max": max,
                    "continuation": continuation,
                },
            ),
        )

    def update_certificate(self, vault: str, name: str, body: requests.UpdateCertificate) -> responses.Certificate:
        return cast("responses.Certificate", self._json("PATCH", at(CERTIFICATE, vault=vault, name=name), body=body))

    def update_certificate_policy(
        self, vault: str, name: str, body: requests.Policy, *, force: bool | None = None
    ) -> responses.Anything:
        return cast(
            "responses.Anything",
            self._json("PATCH", at(CERTIFICATE + "/policy", vault=vault, name=name), body=body, query={"force": force}),
        )

    def delete_certificate(self, vault: str, name: str) -> responses.Anything:
        return cast("responses.Anything", self._json("DELETE", at(CERTIFICATE, vault=vault, name=name)))

    def list_deleted_certificates(self, vault: str) -> responses.Listed:
        return cast("responses.Listed", self._json("GET", at(DELETED, vault=vault)))

    def recover_certificate(self, vault: str, name: str) -> responses.Anything:
        return cast("responses.Anything", self._json("POST", at(DELETED + "/{name}/recover", vault=vault, name=name)))

    def renew_certificate(
        self, vault: str, name: str, body: requests.RenewCertificate, *, idempotency_key: str | None = None
    ) -> responses.Operation:
        return cast(
            "responses.Operation",
            self._json("POST", at(CERTIFICATE + "/renew", vault=vault, name=name), body=body, key=idempotency_key),
        )

    def revoke_certificate(
        self, vault: str, name: str, body: requests.RevokeCertificate, *, idempotency_key: str | None = None
    ) -> responses.Revoked:
        return cast(
            "responses.Revoked",
            self._json("POST", at(CERTIFICATE + "/revoke", vault=vault, name=name), body=body, key=idempotency_key),
        )

    def adopt_certificate(self, vault: str, name: str, body: requests.AdoptCertificate) -> responses.Certificate:
        return cast(
            "responses.Certificate", self._json("POST", at(CERTIFICATE + "/adopt", vault=vault, name=name), body=body)
        )

    def release_certificate(self, vault: str, name: str) -> responses.Certificate:
        return cast("responses.Certificate", self._json("POST", at(CERTIFICATE + "/release", vault=vault, name=name)))

    def transfer_certificate(self, vault: str, name: str, body: requests.SetOwner) -> responses.Owner:
        return cast("responses.Owner", self._json("PUT", at(CERTIFICATE + "/owner", vault=vault, name=name), body=body))

    def get_certificate_operation(self, vault: str, name: str, *, request_id: str | None = None) -> responses.Operation:
        return cast(
            "responses.Operation",
            self._json("GET", at(CERTIFICATE + "/pending", vault=vault, name=name), query={"request_id": request_id}),
        )

    def cancel_certificate_operation(
        self, vault: str, name: str, body: requests.CancelOperation
    ) -> responses.Operation:
        return cast(
            "responses.Operation", self._json("PATCH", at(CERTIFICATE + "/pending", vault=vault, name=name), body=body)
        )

    def delete_certificate_operation(
        self, vault: str, name: str, *, force: bool | None = None
    ) -> responses.Operation | None:
        return cast(
            "responses.Operation | None",
            self._json("DELETE", at(CERTIFICATE + "/pending", vault=vault, name=name), query={"force": force}),
        )

    def get_operation(self, id: str) -> responses.Operation:
        return cast("responses.Operation", self._json("GET", at("operations/{id}", id=id)))

    def list_operations(
        self,
        *,
        state: str | None = None,
        vault: str | None = None,
        authority: str | None = None,
        since: str | None = None,
        max: int | None = None,
        continuation: str | None = None,
        format: str | None = None,
    ) -> responses.OperationList:
        return cast(
            "responses.OperationList",
            self._json(
                "GET",
                "operations",
                query={
                    "state": state,
                    "vault": vault,
                    "authority": authority,
                    "since": since,
                    "max": max,
                    "continuation": continuation,
                    "format": format,
                },
            ),
        )

    def get_forecast(
        self, *, days: int | None = None, max: int | None = None, continuation: str | None = None
    ) -> responses.Forecast:
        query = {"days": days, "max": max, "continuation": continuation}
        return cast("responses.Forecast", self._json("GET", "forecast", query=query))

    def start_replacement(
        self, body: requests.StartReplacement, *, idempotency_key: str | None = None
    ) -> responses.Replacement:
        return cast("responses.Replacement", self._json("POST", "replacements", body=body, key=idempotency_key))

    def list_replacements(
        self, *, state: str | None = None, max: int | None = None, continuation: str | None = None
    ) -> responses.ReplacementList:
        return cast(
            "responses.ReplacementList",
            self._json("GET", "replacements", query={"state": state, "max": max, "continuation": continuation}),
        )

    def get_replacement(self, id: str) -> responses.Replacement:
        return cast("responses.Replacement", self._json("GET", at("replacements/{id}", id=id)))

    def cancel_replacement(self, id: str) -> responses.Replacement:
        return cast("responses.Replacement", self._json("DELETE", at("replacements/{id}", id=id)))

    def admin_list_issuers(self, vault: str) -> responses.Listed:
        return cast("responses.Listed", self._json("GET", at(ISSUERS, vault=vault)))

    def admin_get_issuer(self, vault: str, issuer: str) -> responses.Anything:
        return cast("responses.Anything", self._json("GET", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer)))

    def admin_set_issuer(self, vault: str, issuer: str, body: requests.SetIssuer) -> responses.Anything:
        return cast(
            "responses.Anything", self._json("PUT", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer), body=body)
        )

    def admin_update_issuer(self, vault: str, issuer: str, body: requests.SetIssuer) -> responses.Anything:
        return cast(
            "responses.Anything", self._json("PATCH", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer), body=body)
        )

    def admin_delete_issuer(self, vault: str, issuer: str) -> responses.Anything:
        return cast("responses.Anything", self._json("DELETE", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer)))

    def admin_get_contacts(self, vault: str) -> responses.Contacts:
        return cast("responses.Contacts", self._json("GET", at(CONTACTS, vault=vault)))

    def admin_set_contacts(self, vault: str, body: requests.SetContacts) -> responses.Contacts:
        return cast("responses.Contacts", self._json("PUT", at(CONTACTS, vault=vault), body=body))

    def admin_delete_contacts(self, vault: str) -> responses.Contacts:
        return cast("responses.Contacts", self._json("DELETE", at(CONTACTS, vault=vault)))

    def list_vaults(self) -> responses.Vaults:
        return cast("responses.Vaults", self._json("GET", "vaults"))

    def list_authorities(self) -> responses.Authorities:
        return cast("responses.Authorities", self._json("GET", "authorities"))

    def roll_over_account_key(self, authority: str) -> responses.AccountKey:
        return cast(
            "responses.AccountKey",
            self._json("POST", at("authorities/{authority}/account-key/rollover", authority=authority)),
        )

    def get_dns_persist(
        self, authority: str, *, name: str | None = None, until: str | None = None
    ) -> responses.DnsPersist:
        path, query = at("authorities/{authority}/dns-persist", authority=authority), {"name": name, "until": until}
        return cast("responses.DnsPersist", self._json("GET", path, query=query))

    def get_me(self) -> responses.Me:
        return cast("responses.Me", self._json("GET", "me"))

    def get_status(self) -> responses.Status:
        return cast("responses.Status", self._json("GET", "status"))

    def get_doctor(self) -> responses.Diagnosis:
        return cast("responses.Diagnosis", self._json("GET", "doctor"))

    def list_notification_targets(self) -> responses.NotificationTargets:
        return cast("responses.NotificationTargets", self._json("GET", "notifications"))

    def send_test_notification(self, target: str) -> responses.Delivery:
        return cast("responses.Delivery", self._json("POST", at("notifications/{target}/test", target=target)))

    def list_poison_messages(self) -> responses.PoisonMessages:
        return cast("responses.PoisonMessages", self._json("GET", "poison"))

    def retry_poison_message(self, id: str) -> responses.PoisonMessage:
        return cast("responses.PoisonMessage", self._json("POST", at("poison/{id}/retry", id=id)))

    def drop_poison_message(self, id: str) -> responses.PoisonMessage:
        return cast("responses.PoisonMessage", self._json("DELETE", at("poison/{id}", id=id)))

    def get_health(self) -> responses.Health:
        return cast("responses.Health", self._json("GET", "health"))

    def get_openapi(self) -> responses.Anything:
        return cast("responses.Anything", self._json("GET", "openapi.json"))

    def get_readiness(self) -> responses.Readiness:
        """Also when something is not ready; then `status` says so."""
        return cast("responses.Readiness", self._json("GET", "health/ready", expected=(503,)))

    def get_certificate_signing_request(self, vault: str, name: str, *, format: str = "pem") -> bytes:
        path = at(CERTIFICATE + "/pending/csr", vault=vault, name=name)
        return self._transport.send("GET", path, query={"format": format}).content

    def merge_certificate(
        self, vault: str, name: str, body: requests.MergeCertificate | tuple[str, bytes]
    ) -> responses.Operation:
        """`body` may also be a content type (such as `application/octet-stream`) and the file's content."""
        path = at(CERTIFICATE + "/pending/merge", vault=vault, name=name)
        content: dict[str, Any] = {"raw": body} if isinstance(body, tuple) else {"body": body}
        return cast("responses.Operation", self._json("POST", path, **content))

    def _json(self, method: str, path: str, **more: Any) -> Any:
        return self._transport.json(method, path, **more)
