"""Who calls: an identity, its role, and the grants that apply to it. Nothing here reads a request or a token."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from certrelay.setting_models import ROLES, Grant, RoleName

FUNCTION_KEY = "function key"  # the one identity of everybody who calls with a function key
PREFIX = "CertRelay."


class Role(enum.IntEnum):
    """Application roles of Microsoft Entra ID (`CertRelay.Reader` …); each includes the ones before it."""

    READER = 1
    REQUESTER = 2
    OPERATOR = 3
    ADMINISTRATOR = 4

    @property
    def title(self) -> RoleName:
        """The role as people and the settings write it."""
        return ROLES[self - 1]

    @property
    def value_in_entra(self) -> str:
        """The `value` of the application role."""
        return f"{PREFIX}{self.title}"


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller.

    `name`: what the history knows it by, an id. `ids`: what it may own certificates by: the object id in Entra ID, for
    an application its application id, too. `role`: the highest one assigned to it. `groups`: object ids;
    `groups_left_out`: Entra ID listed none, because there are too many. `grants`: those that apply to it; without
    grants in the settings (`by_grants` is False), one that has its role and no limits. `display_name`: what people
    call it, only to be shown: it may change, and decides nothing; empty if the token has none."""

    name: str
    role: Role | None
    ids: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    groups_left_out: bool = False
    by_grants: bool = False
    grants: tuple[Grant, ...] = ()
    display_name: str = ""


def grants_for(configured: Sequence[Grant] | None, role: Role | None, principals: frozenset[str]) -> tuple[Grant, ...]:
    """The grants that apply to a caller with this role and these ids, those of its groups included."""
    if configured is None:
        return (Grant(principal=role.title, role=role.title),) if role else ()
    own = {known.title for known in Role if role is not None and known <= role}
    # A group may be called like a role.
    return tuple(
        grant
        for grant in configured
        if (grant.principal in own if grant.principal in ROLES else grant.principal.lower() in principals)
    )


def allows_vault(grant: Grant, vault: str) -> bool:
    """Whether the grant is for this vault."""
    return not grant.vaults or vault in grant.vaults


def allows_authority(grant: Grant, authority: str) -> bool:
    """Whether the grant is for this authority, or issuer."""
    return not grant.authorities or authority.lower() in map(str.lower, grant.authorities)
