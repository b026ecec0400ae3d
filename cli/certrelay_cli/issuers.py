"""Commands about what Key Vault does by itself: issuers, contacts."""

from typing import Annotated

import typer

from certrelay_cli import options
from certrelay_cli.options import Json, PasswordEnv, PasswordFile, Vault, Yes, without_none
from certrelay_cli.session import Session
from certrelay_client.request_models import SetIssuer

Issuer = Annotated[str, typer.Argument(help="The issuer's name.")]

issuers = typer.Typer(help="Key Vault's own issuers (DigiCert, GlobalSign).", no_args_is_help=True)
contacts = typer.Typer(help="Who gets Key Vault's own e-mails.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(issuers, name="issuers")
    app.add_typer(contacts, name="contacts")


@issuers.command("list")
def list_issuers(ctx: typer.Context, vault: Vault = "", json: Json = False) -> None:
    """The issuers of a vault.

    Example: certrelay issuers list
    """
    session: Session = ctx.obj
    found = session.client.admin_list_issuers(session.vault(vault))["value"]
    rows = ((str(one.get("id", "")).rsplit("/", 1)[-1], one.get("provider")) for one in found)
    session.show(found, ("name", "provider"), rows, json=json)


@issuers.command("show")
def show_issuer(ctx: typer.Context, issuer: Issuer, vault: Vault = "") -> None:
    """One issuer, without its password.

    Example: certrelay issuers show digicert
    """
    session: Session = ctx.obj
    session.print_json(session.client.admin_get_issuer(session.vault(vault), issuer))


@issuers.command("set")
def set_issuer(
    ctx: typer.Context,
    issuer: Issuer,
    vault: Vault = "",
    provider: Annotated[str | None, typer.Option(help="DigiCert or GlobalSign; needed for a new issuer.")] = None,
    account_id: Annotated[str | None, typer.Option(help="The account at the provider.")] = None,
    password_env: PasswordEnv = None,
    password_file: PasswordFile = None,
    organization_id: Annotated[str | None, typer.Option(help="The organization at the provider.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable")] = None,
) -> None:
    """Create an issuer, or replace it; or change it. Without --provider only what is given changes.

    Example: certrelay issuers set digicert --provider DigiCert --account-id 1234 --password-env CA_PASSWORD
    """
    session: Session = ctx.obj
    password = options.password(password_env, password_file, "Password at the provider" if provider else None)
    body: SetIssuer = without_none(
        provider=provider,
        credentials=without_none(account_id=account_id, pwd=password),
        org_details=without_none(id=organization_id),
        attributes=without_none(enabled=enabled),
    )
    send = session.client.admin_set_issuer if provider else session.client.admin_update_issuer
    session.print_json(send(session.vault(vault), issuer, body))


@issuers.command("delete")
def delete_issuer(ctx: typer.Context, issuer: Issuer, vault: Vault = "", yes: Yes = False) -> None:
    """Delete an issuer.

    Example: certrelay issuers delete digicert --yes
    """
    session: Session = ctx.obj
    alias = session.vault(vault)
    options.confirm(f"Delete the issuer {issuer} of {alias}?", yes)
    session.print_json(session.client.admin_delete_issuer(alias, issuer))


@contacts.command("list")
def list_contacts(ctx: typer.Context, vault: Vault = "") -> None:
    """The contacts of a vault.

    Example: certrelay contacts list
    """
    session: Session = ctx.obj
    session.print_json(session.client.admin_get_contacts(session.vault(vault)))


@contacts.command("set")
def set_contacts(
    ctx: typer.Context,
    email: Annotated[list[str], typer.Argument(help="All addresses; they replace those before.")],
    vault: Vault = "",
) -> None:
    """Replace the contacts.

    Example: certrelay contacts set ops@contoso.example
    """
    session: Session = ctx.obj
    session.print_json(
        session.client.admin_set_contacts(session.vault(vault), {"contacts": [{"email": one} for one in email]})
    )


@contacts.command("delete")
def delete_contacts(ctx: typer.Context, vault: Vault = "", yes: Yes = False) -> None:
    """Delete all contacts.

    Example: certrelay contacts delete --yes
    """
    session: Session = ctx.obj
    alias = session.vault(vault)
    options.confirm(f"Delete all contacts of {alias}?", yes)
    session.print_json(session.client.admin_delete_contacts(alias))
