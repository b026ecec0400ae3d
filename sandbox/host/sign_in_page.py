"""The sign-in page. In Azure it is Microsoft Entra ID's; here it lets people choose who they are."""

import html
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from sandbox.identity import TENANT

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem }}
label {{ display: block }} input[type=text], textarea {{ width: 100%; box-sizing: border-box; font: inherit }}
fieldset, p {{ margin: 1rem 0 }} button {{ font: inherit; padding: .4rem 1rem }}
</style>
</head>
<body><main><h1>{title}</h1>
{content}
</main></body>
</html>
"""
_FORM = """<p>This page stands in for Microsoft Entra ID, in the sandbox only. Choose who you are.</p>
<form method="post" action="{action}">
<fieldset><legend>You are</legend>
<label><input type="radio" name="kind" value="person" checked> a person</label>
<label><input type="radio" name="kind" value="application"> an application</label></fieldset>
<p><label for="name">Name</label><input type="text" id="name" name="name" value="Ada Example" required></p>
<p><label for="object_id">Object id (empty: derived from the name)</label>
<input type="text" id="object_id" name="object_id" pattern="[0-9a-fA-F\\-]{{36}}"></p>
<fieldset><legend>Application roles</legend>
{roles}
</fieldset>
<p><label for="groups">Group ids, one a line (optional)</label>
<textarea id="groups" name="groups" rows="2"></textarea></p>
<button type="submit">Sign in</button>
</form>"""


def page(title: str, text: str) -> bytes:
    """A page of one paragraph."""
    return _FRAME.format(title=html.escape(title), content=f"<p>{html.escape(text)}</p>").encode()


def sign_in_page(action: str, redirect: str, roles: Sequence[str]) -> bytes:
    """The form. It is sent to the path `action`, with `redirect` in its query."""
    boxes = [
        f'<label><input type="checkbox" name="role" value="{html.escape(one)}"> {html.escape(one)}</label>'
        for one in roles
    ]
    url = f"{action}?{urlencode({'post_login_redirect_uri': redirect})}"
    content = _FORM.format(action=html.escape(url), roles="\n".join(boxes))
    return _FRAME.format(title="Sign in", content=content).encode()


@dataclass(frozen=True)
class Choice:
    """Who somebody chose to be."""

    name: str
    object_id: str
    roles: list[str]
    groups: list[str]
    is_application: bool

    @classmethod
    def read(cls, form: bytes, roles: Sequence[str]) -> "Choice":
        """Raises ValueError, with a text for the person who filled the form."""
        fields = parse_qs(form.decode(errors="replace"))
        name = " ".join(fields.get("name", [""])[0].split())
        kind = fields.get("kind", ["person"])[0]
        chosen = fields.get("role", [])
        if not name or not name.isprintable() or len(name) > 100:
            raise ValueError("The name needs 1 to 100 printable characters.")
        if kind not in ("person", "application"):
            raise ValueError("The kind is person or application.")
        if unknown := sorted(set(chosen) - set(roles)):
            raise ValueError(f"The app has no role {unknown[0]}. Its roles: {', '.join(roles)}.")
        object_id = _uuid(fields.get("object_id", [""])[0].strip() or str(uuid.uuid5(uuid.UUID(TENANT), name)))
        groups = [_uuid(one) for one in fields.get("groups", [""])[0].replace(",", " ").split()]
        return cls(name, object_id, chosen, groups, kind == "application")

    def claims(self) -> dict[str, Any]:
        """The claims of this caller's token, by their short names."""
        claims: dict[str, Any] = {"oid": self.object_id, "sub": self.object_id, "tid": TENANT}
        if self.is_application:
            # One more id: the application's, where `oid` is its service principal's.
            claims |= {"azp": str(uuid.uuid5(uuid.UUID(TENANT), self.object_id)), "azpacr": "2", "idtyp": "app"}
        else:
            user = ".".join(self.name.lower().split())
            claims |= {"name": self.name, "preferred_username": f"{user}@sandbox.example"}
        lists = {"roles": self.roles, "groups": self.groups}
        return claims | {name: values for name, values in lists.items() if values}


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError("Object ids and group ids have the form 8d1c0f5e-0000-4000-8000-000000000000.") from None
