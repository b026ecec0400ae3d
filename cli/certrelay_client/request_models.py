"""The request bodies of the API, with the names of its OpenAPI document. A test holds each field to that document."""

from typing import Literal, NotRequired, TypedDict


class Action(TypedDict):
    action_type: Literal["AutoRenew", "EmailContacts"]


type Text = str


class AdministratorDetails(TypedDict):
    first_name: NotRequired[Text]
    last_name: NotRequired[Text]
    email: NotRequired[Text]
    phone: NotRequired[Text]


class Trigger(TypedDict):
    lifetime_percentage: NotRequired[int]
    days_before_expiry: NotRequired[int]


class AdoptCertificate(TypedDict):
    authority: Text
    validity_days: NotRequired[int]
    trigger: NotRequired[Trigger]
    force: NotRequired[bool]


class BasicConstraints(TypedDict):
    ca: NotRequired[bool]
    path_len_constraint: NotRequired[int]


class CancelOperation(TypedDict):
    cancellation_requested: Literal[True]


class Contact(TypedDict):
    email: str
    name: NotRequired[Text]
    phone: NotRequired[Text]


class KeyProperties(TypedDict):
    exportable: NotRequired[bool]
    kty: NotRequired[Literal["RSA", "EC", "RSA-HSM", "EC-HSM"]]
    key_size: NotRequired[int]
    crv: NotRequired[Literal["P-256", "P-384", "P-521"]]
    reuse_key: NotRequired[bool]


class SecretProperties(TypedDict):
    contentType: NotRequired[Literal["application/x-pkcs12", "application/x-pem-file"]]


type Names = list[str]


class SubjectAlternativeNames(TypedDict):
    dns_names: NotRequired[Names]
    emails: NotRequired[Names]
    upns: NotRequired[Names]
    uris: NotRequired[Names]
    ipAddresses: NotRequired[Names]


class X509Properties(TypedDict):
    subject: NotRequired[Text]
    sans: NotRequired[SubjectAlternativeNames]
    ekus: NotRequired[list[Text]]
    key_usage: NotRequired[list[Text]]
    validity_months: NotRequired[int]
    basic_constraints: NotRequired[BasicConstraints]


class LifetimeAction(TypedDict):
    trigger: Trigger
    action: Action


class Issuer(TypedDict):
    name: NotRequired[Text]
    cty: NotRequired[Text]
    cert_transparency: NotRequired[bool]


class Policy(TypedDict):
    key_props: NotRequired[KeyProperties]
    secret_props: NotRequired[SecretProperties]
    x509_props: NotRequired[X509Properties]
    lifetime_actions: NotRequired[list[LifetimeAction]]
    issuer: NotRequired[Issuer]


type Tags = dict[str, str]


class CreateCertificate(TypedDict):
    authority: NotRequired[Text]
    policy: NotRequired[Policy]
    subject: NotRequired[Text]
    dns_names: NotRequired[Names]
    email_addresses: NotRequired[Names]
    ip_addresses: NotRequired[Names]
    uris: NotRequired[Names]
    user_principal_names: NotRequired[Names]
    validity_days: NotRequired[int]
    tags: NotRequired[Tags]
    enabled: NotRequired[bool]
    force: NotRequired[bool]


class ImportCertificate(TypedDict):
    value: NotRequired[str]
    certificate: NotRequired[str]
    key: NotRequired[str]
    chain: NotRequired[str]
    pwd: NotRequired[str]
    policy: NotRequired[Policy]
    tags: NotRequired[Tags]
    enabled: NotRequired[bool]
    strict: NotRequired[bool]
    force: NotRequired[bool]


class IssuerAttributes(TypedDict):
    enabled: NotRequired[bool]


class IssuerCredentials(TypedDict):
    account_id: NotRequired[Text]
    pwd: NotRequired[str]


type Text32K = str


class MergeCertificate(TypedDict):
    x5c: NotRequired[list[Text32K]]
    certificate: NotRequired[str]


class OrganizationDetails(TypedDict):
    id: NotRequired[Text]
    admin_details: NotRequired[list[AdministratorDetails]]


class RenewCertificate(TypedDict):
    authority: NotRequired[Text]
    reuse_key: NotRequired[bool]


type RevocationReason = Literal[
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "privilegeWithdrawn",
]


class RevokeCertificate(TypedDict):
    reason: NotRequired[RevocationReason]
    version: NotRequired[str]
    replace: NotRequired[bool]


class SetContacts(TypedDict):
    contacts: list[Contact]


class SetIssuer(TypedDict):
    provider: NotRequired[Text]
    credentials: NotRequired[IssuerCredentials]
    org_details: NotRequired[OrganizationDetails]
    attributes: NotRequired[IssuerAttributes]


class SetOwner(TypedDict):
    owner: str


class StartReplacement(TypedDict):
    vaults: NotRequired[list[Text]]
    authority: NotRequired[Text]
    names: NotRequired[list[Text]]
    issuer: NotRequired[Text]
    serial_numbers: NotRequired[list[Text]]
    key_type: NotRequired[Literal["RSA", "EC"]]
    issued_before: NotRequired[str]


class UpdateCertificate(TypedDict):
    tags: NotRequired[Tags]
    enabled: NotRequired[bool]
    force: NotRequired[bool]
