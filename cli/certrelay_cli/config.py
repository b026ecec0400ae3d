"""Where CertRelay is and how to sign in: from a flag, else the environment, else the saved configuration."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import typer

from certrelay_cli.inputs import Malformed, read_object

ENDPOINT, KEY, SCOPE, VAULT, CONFIG = (
    f"CERTRELAY_{name}" for name in ("ENDPOINT", "FUNCTION_KEY", "SCOPE", "VAULT", "CONFIG")
)


@dataclass(frozen=True, slots=True)
class Config:
    """`scope`: of the access token, `api://…/.default`. Empty: not given."""

    endpoint: str = ""
    scope: str = ""
    function_key: str = ""
    vault: str = ""

    def __repr__(self) -> str:
        return f"Config({self.endpoint!r})"  # never the key

    def over(self, other: "Config") -> "Config":
        """This one, and for what it leaves out the other. A way to sign in hides both ways of the other.

        A key or a token goes only to the endpoint that it was given for: another endpoint brings its own sign-in."""
        signs_in = self.scope or self.function_key
        elsewhere = self.endpoint and other.endpoint and self.endpoint.rstrip("/") != other.endpoint.rstrip("/")
        below = replace(other, scope="", function_key="") if signs_in or elsewhere else other
        return Config(*(getattr(self, one.name) or getattr(below, one.name) for one in fields(self)))


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file of the saved configuration."""
    return Path(environment.get(CONFIG) or Path(typer.get_app_dir("certrelay")) / "config.json")


def from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    return Config(*(environment.get(name, "").strip() for name in (ENDPOINT, SCOPE, KEY, VAULT)))


def saved(file: Path) -> Config:
    """The saved configuration; an empty one without a file. Raises Malformed."""
    if not file.exists():
        return Config()
    try:
        content = read_object(file)
    except Malformed as error:
        raise Malformed(file, [f"{fault}; delete it, and run `certrelay login`" for fault in error.faults]) from None
    known = {one.name for one in fields(Config)}
    return Config(**{name: str(value) for name, value in content.items() if name in known})


def save(file: Path, config: Config) -> None:
    """Write it for its owner alone (mode 0600), whole or not at all. Raises Malformed."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(file, config)
    except OSError as error:
        raise Malformed(file, [f"cannot be written: {error.strerror}"]) from None


def forget(file: Path) -> None:
    """Delete the saved configuration, if there is one. Raises Malformed."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise Malformed(file, [f"cannot be deleted: {error.strerror}"]) from None


def _write(file: Path, config: Config) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".certrelay")  # of mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({name: value for name, value in asdict(config).items() if value}, stream, indent=2)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
