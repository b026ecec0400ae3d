"""`certificates.yaml`: its fields, as models that check it and that its JSON Schema is generated from."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from certrelay_cli import keys, triggers
from certrelay_cli.code import yaml_text
from certrelay_cli.inputs import Malformed, read_text

_SENTENCES = {
    "extra_forbidden": "is not a known field", "missing": "is missing", "model_type": "must be a mapping (name: value)",
    "dict_type": "must be a mapping (name: value)", "list_type": "must be a list",
}  # fmt: skip
CERTIFICATE_NAME = r"^[0-9A-Za-z-]{1,127}$"
Text = Annotated[str, Field(min_length=1, max_length=2048)]
Texts = Annotated[list[Text], Field(max_length=100)]
TagValue = Annotated[str, Field(max_length=256)]


class Common(BaseModel):
    """What a certificate may say, and the defaults for all of them."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    authority: Text | None = Field(default=None, description="The authority of the settings that issues and renews it.")
    issuer: Text | None = Field(
        default=None,
        description="Instead of an authority: one of Key Vault's own issuers, Self, or Unknown (it was imported). "
        "CertRelay does not renew it.",
    )
    key: str | None = Field(default=None, pattern=keys.PATTERN, description="EC-P256, RSA-3072, RSA-HSM-4096 …")
    days: int | None = Field(default=None, ge=1, le=3650, description="The validity to ask for, in days.")
    renew: str | None = Field(
        default=None, pattern=triggers.PATTERN, description="30d: before expiry. 67%: of the lifetime."
    )
    tags: dict[Annotated[str, Field(min_length=1, max_length=256)], TagValue] = Field(
        default={}, description="All tags, without CertRelay's own. Those of the defaults are added."
    )
    exportable: bool | None = Field(default=None, description="Whether the key can leave the vault.")
    reuse_key: bool | None = Field(default=None, description="Whether a renewal keeps the key.")
    content_type: Literal["pfx", "pem"] | None = Field(default=None, description="The format of the secret.")
    key_usage: Annotated[list[Text], Field(max_length=9)] | None = None
    ekus: Annotated[list[Text], Field(max_length=20)] | None = Field(
        default=None, description="Extended key usages, as object identifiers."
    )
    enabled: bool | None = Field(default=None, description="Whether the newest version is enabled.")


class Entry(Common):
    """One certificate."""

    names: Texts = Field(default=[], description="DNS names, IP addresses, e-mail addresses (with @), URIs (with ://).")
    endpoint: Text | None = Field(
        default=None,
        description="Where it is served (HOST:PORT): CertRelay looks whether the newest version is. "
        "The setting CERTRELAY_ENDPOINTS has to allow it.",
    )
    upns: Texts = Field(default=[], description="User principal names.")
    subject: Text | None = Field(default=None, description="By default CN= and the first DNS name.")
    certificate_type: Text | None = Field(default=None, description="With an issuer of Key Vault: such as OV-SSL.")
    auto_renew: bool | None = Field(default=None, description="With an issuer of Key Vault: whether it renews it.")
    ca: bool = Field(default=False, description="Whether it is the certificate of an authority.")


class Document(BaseModel):
    """The certificates that are wanted in one vault."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, title="certificates.yaml")

    vault: Text = Field(description="The vault's alias in the settings.")
    defaults: Common = Field(default=Common(), description="For each certificate that does not say otherwise.")
    certificates: dict[Annotated[str, Field(pattern=CERTIFICATE_NAME)], Entry] = Field(
        default={}, description="By their names in the vault."
    )


def parse(text: str, file: str = "certificates.yaml") -> Document:
    """The file's content. Raises Malformed with every fault."""
    try:
        content = yaml_text.load(text)
    except ValueError as error:
        raise Malformed(file, [str(error)]) from None
    if content is None:
        raise Malformed(file, ["is empty"])
    return of(content, file)


def of(content: Any, file: str = "certificates.yaml") -> Document:
    """The document of these values. Raises Malformed with every fault."""
    try:
        return Document.model_validate(content)
    except ValidationError as error:
        raise Malformed(file, [_fault(one) for one in error.errors(include_url=False, include_input=False)]) from None


def load(file: Path) -> Document:
    """Raises Malformed; also when the file cannot be read."""
    return parse(read_text(file), str(file))


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    found = Document.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _fault(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"] if part != "[key]") or "the file"
    kind = details["type"]
    text = _SENTENCES.get(kind, str(details["msg"]))
    if kind == "string_type":
        text += "; put it in quotes"
    if details["loc"][-1:] == ("[key]",) and kind == "string_pattern_mismatch":
        text = "a certificate's name has 1 to 127 letters, digits and hyphens"
    if details["loc"][-1:] == ("key",) and kind == "string_pattern_mismatch":
        text = keys.KINDS
    return f"{where}: {text}"
