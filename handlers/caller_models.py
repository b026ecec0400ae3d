"""The response bodies about the caller, as models for OpenAPI."""

from typing import Literal

from handlers.response_models import Body


class Grant(Body):
    """What the caller may do where; `all` stands for no limit."""

    role: str
    vaults: list[str]
    authorities: list[str]
    certificates: list[str]
    subjects: list[str]


class Access(Body):
    """`role`: the highest one that any grant gives in this vault; `routes`: what it opens there, by operationId."""

    name: str
    role: str
    routes: list[str]


class Me(Body):
    """Who the caller is, as CertRelay understands it; `grants` that apply: one without limits if the role decides.

    `name`: the id by which it is known. `display_name`: what people call it, only to be shown; may be empty."""

    name: str
    display_name: str
    ids: list[str]
    role: str | None
    groups: list[str]
    groups_left_out: bool
    decided_by: Literal["role", "grants"]
    grants: list[Grant]
    vaults: list[Access]
