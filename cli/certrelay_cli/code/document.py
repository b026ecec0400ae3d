"""`certificates.yaml`: its fields, as models that check it and that its JSON Schema is generated from."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from certrelay_cli import keys, triggers

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


class Malformed(Exception):
    """The file is not as it must be; `faults` has a line for each fault."""

    def __init__(self, file: str, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(f"{file}: {fault}" for fault in faults))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, and takes no, off and dates for text, as a name or a tag is meant."""


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key_node, deep=True): loader.construct_object(value_node, deep=True)
        for key_node, value_node in node.value
    }


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":bool", ":timestamp"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _word in ("true", "false"):
    _Loader.yaml_implicit_resolvers.setdefault(_word[0], []).insert(
        0, ("tag:yaml.org,2002:bool", re.compile(f"^{_word}$"))
    )


def parse(text: str, file: str = "certificates.yaml") -> Document:
    """The file's content. Raises Malformed with every fault."""
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise Malformed(file, [" ".join(str(error).split())]) from None
    except RecursionError:
        raise Malformed(file, ["is nested too deeply"]) from None
    try:
        return Document.model_validate(content)
    except ValidationError as error:
        raise Malformed(file, [_fault(one) for one in error.errors(include_url=False, include_input=False)]) from None


def load(file: Path) -> Document:
    """Raises Malformed; also when the file cannot be read."""
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise Malformed(str(file), [getattr(error, "strerror", None) or "is not UTF-8"]) from None


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    found = Document.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _fault(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"] if part != "[key]") or "the file"
    kind = details["type"]
    text = {"extra_forbidden": "is not a known field", "missing": "is missing"}.get(kind, str(details["msg"]))
    if kind == "string_type":
        text += "; put it in quotes"
    if details["loc"][-1:] == ("[key]",) and kind == "string_pattern_mismatch":
        text = "a certificate's name has 1 to 127 letters, digits and hyphens"
    return f"{where}: {text}"
