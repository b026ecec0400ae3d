"""What the tables say of endpoints and of fall-back authorities."""

from typing import Any

import pytest

from tests.cli.conftest import Run, Server

pytestmark = pytest.mark.usefixtures("signed_in")

SEEN = {
    "address": "www.contoso.example:443", "newest_since": "2026-11-28T06:00:00Z", "looked_at": "2026-11-29T06:00:00Z",
}  # fmt: skip
SERVED = {"thumbprint": "ab12", "expires": "2026-12-24T06:00:00Z", "earlier_version": True}
OLD = "serves an earlier version (ab12), which expires 2026-12-24T06:00:00Z"
SINCE = "the newest version is in the vault since 2026-11-28T06:00:00Z"
LOOKED = "looked at 2026-11-29T06:00:00Z"
FALLBACK = {"of": "letsencrypt", "since": "2026-11-29T05:00:00Z", "why": "it has been unavailable for a day"}


def line(text: str, first: str) -> str:
    """The row of a table that begins with a word, without the spaces between its columns."""
    [found] = [" ".join(row.split()) for row in text.splitlines() if row.split()[:1] == [first]]
    return found


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ({"state": "deployed", "served": SERVED}, f"deployed; {LOOKED}"),
        ({"state": "pending", "served": SERVED}, f"pending; {OLD}; {SINCE}; {LOOKED}"),
        (
            {"state": "not-deployed", "served": SERVED | {"earlier_version": False}},
            f"not-deployed; {OLD.replace('an earlier version', 'another certificate')}; {SINCE}; {LOOKED}",
        ),
        (
            {"state": "unreachable", "error": "it refuses the connection", "unreachable_since": "2026-11-29T01:00:00Z"},
            f"unreachable; it refuses the connection, since 2026-11-29T01:00:00Z; {LOOKED}",
        ),
        ({"state": "unseen", "looked_at": None}, "unseen; looked at never"),
        ({"state": "not-allowed", "served": SERVED}, f"not-allowed; {LOOKED}"),
    ],
)
def test_show_says_what_the_endpoint_serves(server: Server, command: Run, endpoint: dict[str, Any], told: str) -> None:
    server.gives(200, {"name": "www", "vault": "main", "version": "1", "endpoint": SEEN | endpoint})
    assert line(command("show", "www").out, "endpoint") == f"endpoint www.contoso.example:443: {told}"


def test_show_names_the_fall_back_that_signed_and_why(server: Server, command: Run) -> None:
    found = {"name": "www", "vault": "main", "version": "1", "signed_by": "zerossl", "fallback": FALLBACK}
    server.gives(200, found)
    out = command("show", "www").out
    assert line(out, "signed_by") == "signed_by zerossl"
    assert line(out, "fall-back") == "fall-back of letsencrypt: it has been unavailable for a day"
    server.answers.clear()
    server.gives(200, {key: value for key, value in found.items() if key != "fallback"})
    out = command("show", "www").out
    assert "fall-back" not in out
    assert "endpoint" not in out


def test_list_has_the_state_of_each_endpoint(server: Server, command: Run) -> None:
    known = {"enabled": True, "expires": "2027-01-01T00:00:00Z", "authority": "corp", "renewal_due": None}
    lines = [{"name": "www", **known, "endpoint": SEEN | {"state": "not-deployed"}}, {"name": "mail", **known}]
    server.gives(200, {"value": lines, "continuation": None})
    out = command("list").out
    assert line(out, "www").endswith(" not-deployed")
    assert line(out, "mail").endswith(" -")
    assert line(out, "name").endswith(" endpoint")


STATUS: dict[str, Any] = {
    "version": "1.0.0", "now": "2026-11-29T06:00:00Z", "runs": [], "operations": {"open": 0}, "certificates": [],
    "incidents": [], "poison_messages": 0, "authorities": [], "endpoints": {}, "not_deployed": [],
}  # fmt: skip


def test_status_counts_endpoints_and_names_what_is_not_deployed(server: Server, command: Run) -> None:
    more = {"endpoints": {"deployed": 41, "not-deployed": 1}, "not_deployed": ["main/www"]}
    server.gives(200, STATUS | more)
    out = command("status").out
    assert line(out, "deployed") == "deployed 41"
    assert "not-deployed main/www: its endpoint does not serve the newest version" in out


def test_status_says_nothing_of_endpoints_where_none_is_looked_at(server: Server, command: Run) -> None:
    server.gives(200, STATUS)
    assert "endpoint" not in command("status").out


OPERATION: dict[str, Any] = {
    "id": "main.www.1", "vault": "main", "name": "www", "kind": "renew", "status": "completed", "step": "completed",
    "status_details": "done", "requested_by": "sweep", "requested_at": "2026-11-29T05:00:00Z", "transitions": [],
}  # fmt: skip


@pytest.mark.parametrize("arguments", [["history", "www"], ["operations"]])
def test_history_and_operations_say_which_authority_signed_and_whose_fall_back_it_is(
    server: Server, command: Run, arguments: list[str]
) -> None:
    own = OPERATION | {"name": "own", "requested_at": "own", "id": "own", "authority": "letsencrypt"}
    other = OPERATION | {"requested_at": "other", "id": "other", "authority": "zerossl", "fallback": FALLBACK}
    server.gives(200, {"value": [own, other], "owners": [], "continuation": None})
    out = command(*arguments).out
    assert "zerossl, a fall-back of letsencrypt" in line(out, "other")
    assert "letsencrypt" in line(out, "own")
    assert "fall-back" not in line(out, "own")


@pytest.mark.parametrize(
    ("command_line", "answer", "first"),
    [
        (["history", "www"], {"value": [OPERATION], "owners": []}, "2026-11-29T05:00:00Z"),
        (["operation", "www", "--no-wait"], OPERATION, "requested_by"),
        (["replacements"], {"value": [{**OPERATION, "state": "settled"}], "continuation": None}, "main.www.1"),
        (["show", "www"], {"name": "www", "vault": "main", "version": "1", "owner": "sweep"}, "owner"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_people_are_shown_by_name_and_without_one_by_id(
    server: Server, command: Run, command_line: list[str], answer: dict[str, Any], first: str
) -> None:
    server.gives(200, answer)
    assert "sweep" in line(command(*command_line).out, first)
    server.answers.clear()
    named = {"requested_by_name": "ada@contoso.example", "owner_name": "ada@contoso.example"}
    if "value" in answer:
        server.gives(200, {**answer, "value": [answer["value"][0] | named]})
    else:
        server.gives(200, answer | named)
    shown = line(command(*command_line).out, first)
    assert "ada@contoso.example" in shown
    assert "sweep" not in shown
