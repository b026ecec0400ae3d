"""Commands: list, show, create, import, csr, merge, operation, history, versions."""

import base64
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from certrelay_cli import keys, options, words
from certrelay_cli.follow import finish
from certrelay_cli.inputs import Malformed, read_bytes, read_object
from certrelay_cli.options import (
    Days,
    Disabled,
    Force,
    IdempotencyKey,
    Json,
    Name,
    NoWait,
    PasswordEnv,
    PasswordFile,
    Renew,
    Tags,
    Timeout,
    Vault,
    Version,
    without_none,
)
from certrelay_cli.session import Session
from certrelay_client.request_models import CreateCertificate, ImportCertificate


def register(app: typer.Typer) -> None:
    app.command("list")(list_)
    app.command("import")(import_)
    for command in (show, create, csr, merge, operation, history, versions):
        app.command()(command)


def list_(
    ctx: typer.Context,
    vault: Vault = "",
    authority: Annotated[str | None, typer.Option(help="Only those that this authority renews.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Only those with this issuer of Key Vault.")] = None,
    state: Annotated[
        str | None,
        typer.Option(help="managed, unmanaged, enabled, disabled, due, expiring or expired; several with commas."),
    ] = None,
    expiring_within: Annotated[int | None, typer.Option(metavar="DAYS", help="Only those that expire soon.")] = None,
    json: Json = False,
) -> None:
    """The certificates of a vault.

    Example: certrelay list --vault main --state due
    """
    session: Session = ctx.obj
    filters = {"authority": authority, "issuer": issuer, "state": state, "expiring_within_days": expiring_within}
    found = list(session.client.certificates(session.vault(vault), **filters))
    rows = (
        (
            one["name"], "" if one["enabled"] else "disabled", one["authority"], one["expires"], one["renewal_due"],
            one["endpoint"]["state"] if "endpoint" in one else "",
        )
        for one in found
    )  # fmt: skip
    session.show(found, ("name", "", "authority", "expires", "renewal due", "endpoint"), rows, json=json)


def show(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    version: Version = "",
    json: Json = False,
) -> None:
    """One certificate: names, validity, when it is renewed.

    Example: certrelay show www --vault main
    """
    session: Session = ctx.obj
    alias = session.vault(vault)
    found = cast(
        "dict[str, Any]",
        session.client.get_certificate_version(alias, name, version)
        if version
        else session.client.get_certificate(alias, name),
    )
    session.show(found, ("certificate", ""), words.certificate(found), json=json)


def create(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    authority: Annotated[str | None, typer.Option(help="An authority of the settings.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Instead: one of Key Vault's own issuers, or Self.")] = None,
    dns: Annotated[list[str] | None, typer.Option(help="A DNS name; may be repeated.")] = None,
    ip: Annotated[list[str] | None, typer.Option(help="An IP address; may be repeated.")] = None,
    email: Annotated[list[str] | None, typer.Option(help="An e-mail address; may be repeated.")] = None,
    uri: Annotated[list[str] | None, typer.Option(help="A URI; may be repeated.")] = None,
    upn: Annotated[list[str] | None, typer.Option(help="A user principal name; may be repeated.")] = None,
    subject: Annotated[str | None, typer.Option(help="The subject, such as CN=www.contoso.example,O=Contoso.")] = None,
    key: Annotated[str | None, typer.Option(help="EC-P256, RSA-3072, RSA-HSM-4096 …")] = None,
    days: Days = None,
    renew: Renew = None,
    tag: Tags = None,
    policy: Annotated[
        Path | None, typer.Option(help="A file with Key Vault's policy in JSON, for all that has no option.")
    ] = None,
    disabled: Disabled = False,
    force: Force = False,
    idempotency_key: IdempotencyKey = None,
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    json: Json = False,
) -> None:
    """Create a certificate, or a new version of one. It is followed until it is in Key Vault.

    Example: certrelay create www --authority corp --dns www.contoso.example --key EC-P256 --renew 30d
    """
    session: Session = ctx.obj
    body: CreateCertificate = without_none(
        authority=authority, policy=_policy(policy, key, issuer, renew, managed=bool(authority)), subject=subject,
        dns_names=dns, ip_addresses=ip, email_addresses=email, uris=uri, user_principal_names=upn, validity_days=days,
        tags=options.tags(tag), enabled=False if disabled else None, force=force or None,
    )  # fmt: skip
    started = session.client.create_certificate(
        session.vault(vault), name, body, idempotency_key=options.key(idempotency_key)
    )
    finish(session, started, json=json, wait=not no_wait, timeout=timeout)


def _policy(file: Path | None, key: str | None, issuer: str | None, renew: str | None, *, managed: bool) -> Any:
    """Key Vault's policy: what the file says, and over it what the options say."""
    policy = _read_policy(file) if file else {}
    if key:
        policy["key_props"] = {**policy.get("key_props", {}), **_key_properties(key)}
    if issuer:
        policy["issuer"] = {**policy.get("issuer", {}), "name": issuer}
    if trigger := options.trigger(renew):
        action = "EmailContacts" if managed else "AutoRenew"
        policy["lifetime_actions"] = [{"trigger": trigger, "action": {"action_type": action}}]
    return policy


def _read_policy(file: Path) -> dict[str, Any]:
    policy = read_object(file)
    for part in ("key_props", "issuer"):  # the options add to these
        if not isinstance(policy.get(part, {}), dict):
            raise Malformed(file, [f"{part}: must be an object"])
    return policy


def _key_properties(text: str) -> dict[str, Any]:
    try:
        return keys.to_properties(text)
    except ValueError as error:
        raise typer.BadParameter(f"--key {error}") from None


def import_(
    ctx: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="A PFX, PEM or DER file with the private key.")],
    vault: Vault = "",
    password_env: PasswordEnv = None,
    password_file: PasswordFile = None,
    tag: Tags = None,
    disabled: Disabled = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what Key Vault would not accept unchanged.")] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Import a certificate with its private key. The password is asked for, or comes from a variable or a file.

    Example: certrelay import old old.pfx --password-env PFX_PASSWORD
    """
    session: Session = ctx.obj
    asked = f"Password of {file.name} (empty: none)" if file.suffix.lower() in (".pfx", ".p12") else None
    content = read_bytes(file)
    password = options.password(password_env, password_file, asked)
    body: ImportCertificate = without_none(
        value=base64.b64encode(content).decode(), pwd=password, tags=options.tags(tag),
        enabled=False if disabled else None, strict=strict or None, force=force or None,
    )  # fmt: skip
    found = session.client.import_certificate(session.vault(vault), name, body)
    what = f"{name}: {'imported' if found['imported'] else 'is there already'}, version {found['version']}"
    session.tell(found, "\n  ".join([what, *found["changes"]]), json=json)


def csr(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default standard output.")] = None,
    format: Annotated[str, typer.Option(help="pem or der.")] = "pem",
) -> None:
    """The CSR of the pending operation, to be signed by hand.

    Example: certrelay csr paper --out paper.csr
    """
    session: Session = ctx.obj
    content = session.client.get_certificate_signing_request(session.vault(vault), name, format=format)
    if out:
        options.write_file(out, content)
    else:
        session.write(content)


def merge(
    ctx: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="The signed certificate and its chain: PEM, DER or PKCS#7.")],
    vault: Vault = "",
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    json: Json = False,
) -> None:
    """Provide what was signed by hand, with its chain.

    Example: certrelay merge paper chain.pem
    """
    session: Session = ctx.obj
    content = ("application/octet-stream", read_bytes(file))
    started = session.client.merge_certificate(session.vault(vault), name, content)
    finish(session, started, json=json, wait=not no_wait, timeout=timeout)


def operation(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    id: Annotated[str | None, typer.Option(help="An operation's id; by default the latest one.")] = None,
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    json: Json = False,
) -> None:
    """Follow the operation of a certificate to its end.

    Example: certrelay operation www
    """
    session: Session = ctx.obj
    found = session.client.get_certificate_operation(session.vault(vault), name, request_id=id)
    finish(session, found, json=json, wait=not no_wait, timeout=timeout)


def history(ctx: typer.Context, name: Name, vault: Vault = "", json: Json = False) -> None:
    """The ended operations of a certificate, newest first.

    Example: certrelay history www
    """
    session: Session = ctx.obj
    found = session.client.get_certificate_history(session.vault(vault), name)
    rows = (
        (one["requested_at"], one["kind"], one["status"], words.authority(one), words.who(one),
         one.get("error", {}).get("message", ""))
        for one in found["value"]
    )  # fmt: skip
    session.show(found, ("requested", "kind", "status", "authority", "by", "error"), rows, json=json)


def versions(ctx: typer.Context, name: Name, vault: Vault = "", json: Json = False) -> None:
    """All versions of a certificate.

    Example: certrelay versions www
    """
    session: Session = ctx.obj
    found = session.client.list_certificate_versions(session.vault(vault), name)
    rows = ((one["version"], bool(one["attributes"].get("enabled")), one["thumbprint"]) for one in found["value"])
    session.show(found, ("version", "enabled", "thumbprint"), rows, json=json)
