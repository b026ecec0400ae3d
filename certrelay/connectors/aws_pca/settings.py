"""The settings of an AWS Private CA authority."""

from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from certrelay.connectors.http_settings import AuthorityUrl, HttpSettings

CA_ARN = r"^arn:(aws[a-z-]*):acm-pca:([a-z0-9-]+):\d{12}:certificate-authority/[0-9a-f-]{36}$"

ACCOUNT, UUID = "123456789012", "01234567-89ab-cdef-0123-456789abcdef"  # of the examples


class AwsPcaSettings(HttpSettings):
    """One authority, and one of two ways to log in.

    An access key; or `role_arn` with `audience`: the app's managed identity presents a token for `audience` (an
    application ID URI) to AWS STS. `signing_algorithm` must fit the authority's key. `url` and `sts_url` default to
    AWS's regional addresses; set them for a VPC endpoint, say.
    """

    certificate_authority_arn: str = Field(
        pattern=CA_ARN, examples=[f"arn:aws:acm-pca:eu-west-1:{ACCOUNT}:certificate-authority/{UUID}"]
    )
    url: AuthorityUrl
    sts_url: AuthorityUrl
    template_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:acm-pca:::template/[A-Za-z0-9_]+/V\d$",
        examples=["arn:aws:acm-pca:::template/EndEntityServerAuthCertificate/V1"],
    )
    signing_algorithm: Literal[
        "SHA256WITHRSA",
        "SHA384WITHRSA",
        "SHA512WITHRSA",
        "SHA256WITHECDSA",
        "SHA384WITHECDSA",
        "SHA512WITHECDSA",
    ] = "SHA256WITHRSA"
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    role_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$",
        examples=[f"arn:aws:iam::{ACCOUNT}:role/certrelay"],
    )
    audience: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _regional_addresses(cls, values: Any) -> Any:
        arn = values.get("certificate_authority_arn") if isinstance(values, dict) else None
        parts = arn.split(":") if isinstance(arn, str) else []
        if len(parts) < 4:
            return values
        domain = "amazonaws.com.cn" if parts[1] == "aws-cn" else "amazonaws.com"
        defaults = {"url": f"https://acm-pca.{parts[3]}.{domain}", "sts_url": f"https://sts.{parts[3]}.{domain}"}
        return {**defaults, **values}

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        names = ("access_key_id", "secret_access_key", "role_arn", "audience")
        given = {name for name in names if getattr(self, name)}
        if given not in ({"access_key_id", "secret_access_key"}, {"role_arn", "audience"}):
            raise ValueError("needs either access_key_id and secret_access_key, or role_arn and audience")
        return self

    @property
    def partition(self) -> str:
        return self.certificate_authority_arn.split(":")[1]

    @property
    def region(self) -> str:
        return self.certificate_authority_arn.split(":")[3]
