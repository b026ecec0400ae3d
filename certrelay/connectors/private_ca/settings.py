"""The settings of a private CA; docs/private-ca.md."""

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from certrelay.connectors.http_settings import certificates_pem
from certrelay.connectors.settings import ConnectorSettings
from certrelay.pki.purposes import CLIENT_AUTH, SERVER_AUTH

CONTAINER = r"^[a-z0-9](-?[a-z0-9]){2,62}$"
DEFAULT_EXTENDED_KEY_USAGES = (SERVER_AUTH, CLIENT_AUTH)


class PrivateCaSettings(ConnectorSettings):
    """The certificate that signs, where its records are kept, and what it issues.

    `storage_account_url` (https, with the app's identity) or `storage_connection_string` leads to the storage account.
    `chain_certificates` (PEM) are those above an intermediate, without the root; every issued certificate comes with
    them, and their name constraints apply. `crl_distribution_point` is the public URL of the CRL's blob.
    """

    vault_url: str = Field(pattern=r"^https://[^/\s]+/?$", examples=["https://contoso.vault.azure.net"])
    ca_certificate_name: str = Field(pattern=r"^[0-9a-zA-Z-]{1,127}$", examples=["issuing-ca"])
    storage_account_url: str | None = Field(
        default=None, pattern=r"^https://\S+$", examples=["https://contoso.blob.core.windows.net"]
    )
    storage_connection_string: SecretStr | None = None
    records_container: str = Field(default="private-ca", pattern=CONTAINER, examples=["private-ca"])
    crl_container: str = Field(default="private-ca-crl", pattern=CONTAINER, examples=["private-ca-crl"])
    max_validity_days: int = Field(default=397, ge=1, le=36_500)
    extended_key_usages: tuple[str, ...] = Field(default=DEFAULT_EXTENDED_KEY_USAGES, min_length=1)
    issue_ca_certificates: bool = False
    crl_distribution_point: str | None = Field(
        default=None, pattern=r"^http://\S+$", examples=["http://pki.contoso.example/ca.crl"]
    )
    aia_issuer_url: str | None = Field(
        default=None, pattern=r"^http://\S+$", examples=["http://pki.contoso.example/ca.cer"]
    )
    crl_validity_hours: int = Field(default=168, ge=2, le=8760)
    chain_certificates: str = ""
    rsa_padding: Literal["pkcs1v15", "pss"] = "pkcs1v15"

    @field_validator("extended_key_usages")
    @classmethod
    def _object_identifiers(cls, oids: tuple[str, ...]) -> tuple[str, ...]:
        from cryptography import x509

        for oid in oids:
            try:
                x509.ObjectIdentifier(oid)
            except ValueError:
                raise ValueError("must be object identifiers, such as 1.3.6.1.5.5.7.3.1") from None
        return oids

    @field_validator("chain_certificates")
    @classmethod
    def _certificates(cls, pem: str) -> str:
        return certificates_pem(pem) if pem else pem

    @model_validator(mode="after")
    def _one_storage_and_two_containers(self) -> Self:
        if (self.storage_account_url is None) == (self.storage_connection_string is None):
            raise ValueError("needs either storage_account_url or storage_connection_string")
        if self.records_container == self.crl_container:
            raise ValueError("crl_container is public and must not be records_container")
        return self
