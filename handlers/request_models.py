"""The request bodies, with the field names of Key Vault's REST API. Unknown fields and wrong types are refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from certrelay.callers import FUNCTION_KEY
from certrelay.certificates.create import CertificateSpec
from certrelay.certificates.import_file import ImportCommand
from certrelay.connectors.base import RevocationReason
from certrelay.keyvault.policy import MAX_MONTHS
from certrelay.keyvault.tags import MAX_TAG_LENGTH, MAX_TAGS
from certrelay.validation import PRINTABLE, VERSION

type Text = Annotated[str, Field(max_length=2048, pattern=PRINTABLE)]  # as Key Vault's own answers have it: may be ""
type Name = Annotated[str, Field(min_length=1, max_length=2048, pattern=PRINTABLE)]
type Names = Annotated[list[Name], Field(max_length=100)]
type ObjectIdentifier = Annotated[
    str, Field(min_length=3, max_length=255, pattern=r"^[0-2](\.[0-9]+)+$", examples=["1.3.6.1.5.5.7.3.1"])
]
type Text512K = Annotated[str, Field(min_length=1, max_length=524_288)]
GUID = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
type TagText = Annotated[str, Field(max_length=MAX_TAG_LENGTH)]
type Tags = Annotated[dict[Annotated[TagText, Field(min_length=1)], TagText], Field(max_length=MAX_TAGS)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)


class KeyProperties(Body):
    exportable: bool | None = None
    kty: Literal["RSA", "EC", "RSA-HSM", "EC-HSM"] | None = None
    key_size: int | None = Field(default=None, ge=256, le=4096)  # of EC keys, too
    crv: Literal["P-256", "P-384", "P-521"] | None = None
    reuse_key: bool | None = None


class SecretProperties(Body):
    contentType: Literal["application/x-pkcs12", "application/x-pem-file"] | None = None  # noqa: N815 - Key Vault's name


class SubjectAlternativeNames(Body):
    dns_names: Names | None = None
    emails: Names | None = None
    upns: Names | None = None
    uris: Names | None = None
    ipAddresses: Names | None = None  # noqa: N815 - Key Vault's name


class BasicConstraints(Body):
    ca: bool | None = None
    path_len_constraint: int | None = Field(default=None, ge=0, le=10)


class X509Properties(Body):
    subject: Text | None = None
    sans: SubjectAlternativeNames | None = None
    ekus: Annotated[list[ObjectIdentifier], Field(max_length=20)] | None = None
    key_usage: Annotated[list[Name], Field(max_length=9)] | None = None
    validity_months: int | None = Field(default=None, ge=1, le=MAX_MONTHS)
    basic_constraints: BasicConstraints | None = None


class Trigger(Body):
    lifetime_percentage: int | None = Field(default=None, ge=1, le=99)
    days_before_expiry: int | None = Field(default=None, ge=1, le=MAX_MONTHS * 27)


class Action(Body):
    action_type: Literal["AutoRenew", "EmailContacts"]


class LifetimeAction(Body):
    trigger: Trigger
    action: Action


class Issuer(Body):
    name: Name | None = None
    cty: Text | None = None
    cert_transparency: bool | None = None


class Policy(Body):
    """Key Vault's CertificatePolicy."""

    key_props: KeyProperties | None = None
    secret_props: SecretProperties | None = None
    x509_props: X509Properties | None = None
    lifetime_actions: Annotated[list[LifetimeAction], Field(max_length=10)] | None = None
    issuer: Issuer | None = None

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class CreateCertificate(Body):
    """A certificate from an authority of the settings, or from one of Key Vault's own issuers (`policy.issuer`).

    `force` creates it even if the certificate is then no longer renewed."""

    authority: Name | None = None
    policy: Policy = Policy()
    subject: Text | None = None
    dns_names: Names = []
    email_addresses: Names = []
    ip_addresses: Names = []
    uris: Names = []
    user_principal_names: Names = []
    validity_days: int | None = Field(default=None, ge=1, le=3650)
    tags: Tags = {}
    enabled: bool = True
    force: bool = False

    def to_spec(self) -> CertificateSpec:
        return CertificateSpec(
            authority=self.authority,
            policy=self.policy.to_json(),
            subject=self.subject,
            dns_names=tuple(self.dns_names),
            email_addresses=tuple(self.email_addresses),
            ip_addresses=tuple(self.ip_addresses),
            uris=tuple(self.uris),
            user_principal_names=tuple(self.user_principal_names),
            validity_days=self.validity_days,
            tags=self.tags,
            enabled=self.enabled,
            force=self.force,
        )


class ImportCertificate(Body):
    """Either `value` (base64 of a PFX, PEM or DER file, or PEM text), or PEM texts in `certificate`, `key` and `chain`.

    `pwd` is the password of the file. `strict` refuses a file that Key Vault would not accept unchanged. `force`
    imports it even if the certificate is then no longer renewed."""

    value: str | None = Field(default=None, min_length=1, max_length=512 * 1024, repr=False)
    certificate: str | None = Field(default=None, min_length=1, max_length=256 * 1024)
    key: str | None = Field(default=None, min_length=1, max_length=64 * 1024, repr=False)
    chain: str | None = Field(default=None, min_length=1, max_length=256 * 1024)
    pwd: str | None = Field(default=None, max_length=1024, repr=False)
    policy: Policy = Policy()
    tags: Tags | None = None
    enabled: bool = True
    strict: bool = False
    force: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        separate = self.certificate is not None or self.key is not None or self.chain is not None
        if (self.value is None) != separate:
            raise ValueError("needs either value, or certificate and key (and chain)")
        return self

    def to_command(self) -> ImportCommand:
        policy = self.policy.to_json()
        texts = [text for text in (self.key, self.certificate, self.chain) if text]
        value = "\n".join(texts) if self.value is None else self.value
        return ImportCommand(value, self.pwd, policy, self.tags, self.enabled, self.strict, self.force)


class CancelOperation(Body):
    cancellation_requested: Literal[True]


class UpdateCertificate(Body):
    """`force` disables a certificate even though it is then no longer renewed."""

    tags: Tags | None = None
    enabled: bool | None = None
    force: bool = False


class SetOwner(Body):
    """`owner` is an object or application id of Entra ID, or `function key`: everybody who calls with one."""

    owner: Annotated[str, Field(min_length=12, max_length=36, pattern=f"^({GUID}|{FUNCTION_KEY})$")]


class RenewCertificate(Body):
    """`authority` moves the certificate to another authority; `reuse_key` overrides that of the policy."""

    authority: Name | None = None
    reuse_key: bool | None = None


class RevokeCertificate(Body):
    """`reason` is a CRLReason of RFC 5280, section 5.3.1. `replace` also renews the certificate.

    `version` is required with `replace` or an Idempotency-Key; it is the newest one by default."""

    reason: RevocationReason = RevocationReason.UNSPECIFIED
    version: Annotated[str, Field(pattern=VERSION, max_length=32, examples=[32 * "0"])] | None = None
    replace: bool = False


class AdoptCertificate(Body):
    authority: Name
    validity_days: int | None = Field(default=None, ge=1, le=3650)
    trigger: Trigger | None = None
    force: bool = False


class MergeCertificate(Body):
    """The signed certificate and its chain: `x5c` (base64 of DER, as in Key Vault's API) or `certificate` (PEM)."""

    x5c: Annotated[list[Text512K], Field(min_length=1, max_length=10)] | None = None
    certificate: Annotated[str, Field(min_length=1, max_length=1_000_000)] | None = None


class AdministratorDetails(Body):
    first_name: Text | None = None
    last_name: Text | None = None
    email: Text | None = None
    phone: Text | None = None


class OrganizationDetails(Body):
    id: Text | None = None
    admin_details: Annotated[list[AdministratorDetails], Field(max_length=10)] | None = None


class IssuerCredentials(Body):
    account_id: Text | None = None
    pwd: str | None = Field(default=None, max_length=4096, repr=False)


class IssuerAttributes(Body):
    enabled: bool | None = None


class SetIssuer(Body):
    """Key Vault's issuer resource. `credentials.pwd` is never returned."""

    provider: Text | None = None
    credentials: IssuerCredentials | None = None
    org_details: OrganizationDetails | None = None
    attributes: IssuerAttributes | None = None


class Contact(Body):
    email: Annotated[str, Field(min_length=3, max_length=320, pattern=PRINTABLE)]
    name: Text | None = None
    phone: Text | None = None


class SetContacts(Body):
    contacts: Annotated[list[Contact], Field(min_length=1, max_length=100)]


class StartReplacement(Body):
    """A certificate must meet all criteria that are set. `names` are patterns for its name in Key Vault; `*` stands for
    any text."""

    vaults: Annotated[list[Name], Field(max_length=100)] = []
    authority: Name | None = None
    names: Annotated[list[Name], Field(max_length=1000)] = []
    issuer: Name | None = None
    serial_numbers: Annotated[list[Name], Field(max_length=5000)] = []
    key_type: Literal["RSA", "EC"] | None = None
    issued_before: AwareDatetime | None = None
