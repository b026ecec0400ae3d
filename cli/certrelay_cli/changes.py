"""Commands that change certificates: renew, revoke, cancel, adopt, release, policy, update, delete and others."""

from pathlib import Path
from typing import Annotated, cast

import typer

from certrelay_cli import options
from certrelay_cli.follow import finish
from certrelay_cli.inputs import read_object
from certrelay_cli.options import (
    Days,
    Force,
    IdempotencyKey,
    Json,
    Name,
    NoWait,
    Renew,
    Tags,
    Timeout,
    Vault,
    Version,
    Yes,
    without_none,
)
from certrelay_cli.session import Session
from certrelay_client.request_models import (
    AdoptCertificate,
    Policy,
    RenewCertificate,
    RevocationReason,
    RevokeCertificate,
)


def register(app: typer.Typer) -> None:
    for command in (renew, revoke, cancel, adopt, release, policy, update, delete, deleted, recover, transfer):
        app.command()(command)


def renew(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    authority: Annotated[str | None, typer.Option(help="Move the certificate to this authority.")] = None,
    reuse_key: Annotated[
        bool | None, typer.Option(help="Keep the key, or make a new one, whatever the policy says.")
    ] = None,
    idempotency_key: IdempotencyKey = None,
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    json: Json = False,
) -> None:
    """Renew a certificate now, due or not.

    Example: certrelay renew www
    """
    session: Session = ctx.obj
    body: RenewCertificate = without_none(authority=authority, reuse_key=reuse_key)
    started = session.client.renew_certificate(
        session.vault(vault), name, body, idempotency_key=options.key(idempotency_key)
    )
    finish(session, started, json=json, wait=not no_wait, timeout=timeout)


def revoke(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    reason: Annotated[RevocationReason, typer.Option(help="A reason of RFC 5280.")] = "unspecified",
    version: Version = "",
    replace: Annotated[bool, typer.Option("--replace", help="Also renew the certificate.")] = False,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    json: Json = False,
) -> None:
    """Revoke a version at its authority. It cannot be undone.

    Example: certrelay revoke www --reason superseded --replace --yes
    """
    session: Session = ctx.obj
    alias = session.vault(vault)
    chosen = version or session.client.get_certificate(alias, name)["version"]
    options.confirm(f"Revoke version {chosen} of {name} in {alias}?", yes)
    body: RevokeCertificate = {"reason": reason, "version": chosen, "replace": replace}
    done = session.client.revoke_certificate(alias, name, body, idempotency_key=options.key(idempotency_key))
    if done["operation"] is not None:
        finish(session, done["operation"], json=json, wait=not no_wait, timeout=timeout)
    else:
        session.tell(done, f"{name}: version {chosen} is revoked", json=json)


def cancel(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete a stuck operation, in Key Vault too: the name is free again.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --delete: also one that CertRelay did not create.")
    ] = False,
    json: Json = False,
) -> None:
    """Cancel the operation of a certificate. It takes effect unless the certificate is merged first.

    Example: certrelay cancel never
    """
    session: Session = ctx.obj
    alias = session.vault(vault)
    if delete:
        found = session.client.delete_certificate_operation(alias, name, force=force or None)
    else:
        found = session.client.cancel_certificate_operation(alias, name, {"cancellation_requested": True})
    text = found["status_details"] if found else "the pending operation is deleted"
    session.tell(found, f"{name}: {text}", json=json)


def adopt(
    ctx: typer.Context,
    name: Name,
    authority: Annotated[str, typer.Option(help="The authority that renews it from now on.")],
    vault: Vault = "",
    days: Days = None,
    renew: Renew = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if another authority renews it, or a renewal would lose names.")
    ] = False,
    json: Json = False,
) -> None:
    """Let an authority renew what was created elsewhere. It is not renewed at once.

    Example: certrelay adopt old --authority corp --renew 10d
    """
    session: Session = ctx.obj
    body: AdoptCertificate = without_none(
        authority=authority, validity_days=days, trigger=options.trigger(renew), force=force or None
    )
    found = session.client.adopt_certificate(session.vault(vault), name, body)
    session.tell(found, f"{found['name']}: adopted", json=json)


def release(ctx: typer.Context, name: Name, vault: Vault = "", json: Json = False) -> None:
    """Stop renewing a certificate; nothing else changes.

    Example: certrelay release old
    """
    session: Session = ctx.obj
    found = session.client.release_certificate(session.vault(vault), name)
    session.tell(found, f"{found['name']}: released", json=json)


def policy(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    set: Annotated[
        Path | None, typer.Option(help="A file with fields of Key Vault's policy in JSON, to be merged into it.")
    ] = None,
    force: Force = False,
) -> None:
    """The policy of the next version; or change it.

    Example: certrelay policy www --set policy.json
    """
    session: Session = ctx.obj
    alias = session.vault(vault)
    if set is None:
        found = session.client.get_certificate_policy(alias, name)
    else:
        body = cast("Policy", read_object(set))
        found = session.client.update_certificate_policy(alias, name, body, force=force or None)
    session.print_json(found)


def update(
    ctx: typer.Context,
    name: Name,
    vault: Vault = "",
    tag: Tags = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="Remove all tags but CertRelay's own.")] = False,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="The newest version.")] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Replace the tags, enable or disable the newest version. CertRelay's own tags stay.

    Example: certrelay update www --tag team=shop --enable
    """
    session: Session = ctx.obj
    if not tag and not no_tags and enabled is None:
        raise typer.BadParameter("nothing to do: give --tag, --no-tags, --enable or --disable")
    if tag and no_tags:
        raise typer.BadParameter("give either --tag or --no-tags")
    body = without_none(tags=options.tags(tag), enabled=enabled, force=force or None)
    if no_tags:
        body["tags"] = {}
    found = session.client.update_certificate(session.vault(vault), name, body)
    session.tell(found, f"{found['name']}: changed", json=json)


def delete(ctx: typer.Context, name: Name, vault: Vault = "", yes: Yes = False) -> None:
    """Soft-delete a certificate with all its versions. It can be recovered.

    Example: certrelay delete www --yes
    """
    session: Session = ctx.obj
    alias = session.vault(vault)
    options.confirm(f"Delete {name} in {alias}?", yes)
    session.client.delete_certificate(alias, name)
    session.say(f"{name}: deleted; `certrelay recover {name}` recovers it")


def deleted(ctx: typer.Context, vault: Vault = "", json: Json = False) -> None:
    """The soft-deleted certificates of a vault.

    Example: certrelay deleted
    """
    session: Session = ctx.obj
    found = session.client.list_deleted_certificates(session.vault(vault))["value"]
    rows = ((one.get("name") or str(one.get("id", "")).rsplit("/", 1)[-1], one.get("deletedDate")) for one in found)
    session.show(found, ("name", "deleted"), rows, json=json)


def recover(ctx: typer.Context, name: Name, vault: Vault = "") -> None:
    """Recover a soft-deleted certificate.

    Example: certrelay recover www
    """
    session: Session = ctx.obj
    session.client.recover_certificate(session.vault(vault), name)
    session.say(f"{name}: recovered")


def transfer(
    ctx: typer.Context,
    name: Name,
    owner: Annotated[str, typer.Argument(help="An object or application id of Entra ID, or `function key`.")],
    vault: Vault = "",
    json: Json = False,
) -> None:
    """Transfer a certificate to another owner.

    Example: certrelay transfer www 00000000-0000-0000-0000-000000000001
    """
    session: Session = ctx.obj
    found = session.client.transfer_certificate(session.vault(vault), name, {"owner": owner})
    session.tell(found, f"{name}: {found['owner']} owns it now", json=json)
