"""The routes of certificates and of their pending operations."""

from collections.abc import Collection
from typing import Any, cast

from certrelay_client import request_models as requests
from certrelay_client import response_models as responses
from certrelay_client.routes import Routes
from certrelay_client.transport import at

VAULT = "vaults/{vault}"
CERTIFICATE = "vaults/{vault}/certificates/{name}"
DELETED = "vaults/{vault}/deletedcertificates"


class CertificateRoutes(Routes):
    """Certificates, by vault and name."""

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
        state: str | Collection[str] | None = None,
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
