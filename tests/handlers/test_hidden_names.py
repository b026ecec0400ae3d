"""What grants hide is in no answer to a GET: not in links, continuations, counts, headers or sentences."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

import pytest

from certrelay.certificates import edit
from certrelay.connectors.base import Rejected
from certrelay.notifications import incidents
from certrelay.notifications.incidents import Incident
from certrelay.renewal import replacements
from certrelay.renewal.replacements import Criteria
from handlers.routes import ROUTES, Route
from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.vault import VaultServer
from tests.fixtures import connected
from tests.handlers.hidden import CA, HIDDEN, OF_ONE_VAULT, SETTINGS, TEAM
from tests.handlers.in_process import InProcess, Response, path_of
from tests.handlers.people import Person
from tests.world import ALIAS, World, create, made, make_world

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Team:
    """The functions, as one team meets them; two operations of its own, an open one and an ended one."""

    functions: InProcess
    world: World
    names: tuple[str, ...]
    ids: tuple[str, ...]

    def get(self, path: str, who: Person = TEAM) -> Response:
        answer = self.functions.call("GET", path, **{"x-ms-client-principal": who.header})
        assert answer is not None, path
        assert answer.status != 500, path
        return answer


@pytest.fixture(scope="module")
def of_both(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[World]:
    """A vault in which each list has the team's names between hidden ones."""
    with (
        pytest.MonkeyPatch.context() as environment,
        VaultServer(tmp_path_factory.mktemp("both"), clock=Clock()) as server,
    ):
        connected(server, azurite, environment)
        yield filled(server, azurite)


def filled(server: VaultServer, azurite: Azurite) -> World:
    vaults = f'{{"{ALIAS}": {{"url": "{server.url}"}}, "{HIDDEN}-vault": {{"url": "https://127.0.0.1:9"}}}}'
    world = make_world(server, azurite, server.clock, f', "{HIDDEN}-ca": {{{CA}}}', CERTRELAY_VAULTS=vaults, **SETTINGS)
    for at in "acegi":
        made(world, f"{at}-{HIDDEN}", dns_names=(f"{at}.{HIDDEN}.example",), tags={HIDDEN: HIDDEN})
    for at in "dh":
        made(world, f"{at}-ours")
    for name in ("x-ours", f"x-{HIDDEN}"):
        made(world, name)
        edit.delete(world.services, ALIAS, name)
    for at in "bjkl":
        create(world, f"{at}-{HIDDEN}", dns_names=(f"{at}.{HIDDEN}.example",))
    world.ca.wait = 1
    create(world, "m-ours")
    world.advance("m-ours")
    world.ca.answers = [Rejected("no")]
    create(world, f"n-{HIDDEN}")
    world.finish(f"n-{HIDDEN}")
    for _ in range(3):
        replacements.start(world.services, Criteria(names=(HIDDEN,)), HIDDEN)
    world.services.storage.watch.merge("poison", "1", {"queue": "signing", "subject": HIDDEN, "reason": HIDDEN})
    incidents.report(world.services, Incident("authority-down", f"{HIDDEN}-ca", HIDDEN, HIDDEN))
    return world


@pytest.fixture
def team(of_both: World, monkeypatch: pytest.MonkeyPatch) -> Team:
    opened, ended = of_both.services.storage.open(ALIAS, "m-ours"), of_both.services.storage.ended(ALIAS, "d-ours")[0]
    assert opened is not None
    names = "d-ours", "m-ours", "x-ours"
    return Team(InProcess(of_both, monkeypatch), of_both, names, (opened.id, ended.id))


def layers(text: str, depth: int = 6) -> Iterator[str]:
    """The text, and what it says when it is decoded: percent signs, and base64 of whatever kind, in each other."""
    yield text
    if depth:
        if (plain := unquote(text)) != text:
            yield from layers(plain, depth - 1)
        for run in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
            with_padding = run.translate(str.maketrans("-_", "+/")) + "=" * (-len(run) % 4)
            try:
                yield from layers(base64.b64decode(with_padding).decode("latin-1"), depth - 1)
            except binascii.Error:
                continue


def seen(answer: Response) -> str:
    return "\n".join([*map(str, answer.headers.items()), answer.body.decode("latin-1")])


def assert_hidden(answer: Response, path: str, word: str = HIDDEN) -> None:
    for layer in layers(seen(answer)):
        assert word not in layer.lower(), (path, layer[:300])


def test_decoding_finds_a_name_under_each_layer() -> None:
    once = base64.b64encode(b'["/certificates?%24skiptoken=' + base64.b64encode(b"a-zebra") + b'", 1]').decode()
    assert any(HIDDEN in layer for layer in layers(f'{{"continuation": "{quote(once)}"}}'))


def paths_of(team: Team, route: Route) -> Iterator[str]:
    """The paths of a route with the team's own values and unknown ones, and with each choice of a query."""
    versions = team.world.versions("d-ours")
    for name in (*team.names, "nothing-ours", "nothing"):
        for identifier in (*team.ids, "0" * 32, "main.nothing.1"):
            values = {"id": identifier, "version": versions[0].rpartition("/")[2], "issuer": "contoso"}
            yield path_of(route, name, **values)
    yield path_of(route, "d-ours", vault="nothing", authority="nothing", issuer="nothing", id="nothing")
    path = path_of(route, "d-ours", id=team.ids[0])
    for query in route.query:
        for value in query.schema.get("enum", query.schema.get("items", {}).get("enum", ())):
            yield f"{path}?{query.name}={value}"
        if "maximum" in query.schema:
            yield f"{path}?{query.name}={query.schema['maximum']}"
        if query.name in ("vault", "authority", "name", "request_id"):
            yield f"{path}?{query.name}=nothing"


# What a team does not get at all, or only for its own authorities of another kind.
REFUSED = {
    "admin_get_issuer", "get_dns_persist", "get_doctor", "get_replacement", "get_status",
    "list_notification_targets", "list_poison_messages",
}  # fmt: skip


def test_no_answer_to_a_get_names_what_a_grant_hides(team: Team) -> None:
    answered = set()
    for route in ROUTES:
        if route.method == "GET":
            for path in dict.fromkeys(paths_of(team, route)):
                answer = team.get(path)
                assert_hidden(answer, path)
                if answer.status == 200:
                    answered.add(route.name)
    assert {route.name for route in ROUTES if route.method == "GET"} - answered == REFUSED


def test_no_answer_to_a_get_names_a_vault_that_a_grant_is_not_for(team: Team) -> None:
    for route in ROUTES:
        if route.method == "GET":
            for path in dict.fromkeys(paths_of(team, route)):
                assert_hidden(team.get(path, OF_ONE_VAULT), path, f"{HIDDEN}-vault")


LISTS = [
    ("operations?max={}", {"d-ours", "h-ours", "m-ours", "x-ours"}),
    ("operations?state=open&max={}", {"m-ours"}),
    ("operations?format=csv&max={}", None),
    ("replacements?max={}", set()),
    (f"vaults/{ALIAS}/certificates?max={{}}", {"d-ours", "h-ours"}),
    (f"vaults/{ALIAS}/certificates?issuer=Unknown&max={{}}", {"d-ours", "h-ours"}),
]


@pytest.mark.parametrize(("path", "names"), LISTS)
def test_no_page_of_a_list_names_what_a_grant_hides_and_all_that_it_shows_is_found(
    team: Team, path: str, names: set[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certrelay.certificates.read.CERTIFICATES", "/certificates?maxresults=2")
    for limit in (1, 2):
        found: list[str] = []
        following: str | None = ""
        pages, lengths = 0, set[int]()
        while following is not None:
            asked = path.format(limit) + (f"&continuation={quote(following)}" if following else "")
            answer = team.get(asked)
            assert answer.status == 200, answer.body
            assert_hidden(answer, asked)
            if names is None:
                following = answer.headers.get("x-continuation")
            else:
                page = answer.json()
                found += [one["name"] for one in page["value"]]
                following = page["continuation"]
            lengths.add(len(following or ""))
            pages += 1
            assert pages < 40, "the list does not end"
        assert pages > 1, "a list of several pages"
        assert len(lengths) <= 2, "nor does its length tell that of a name"
        assert names is None or sorted(found) == sorted(names)


@pytest.mark.parametrize("path", [f"vaults/{ALIAS}/certificates?max=1", "operations?max=1", "replacements?max=1"])
def test_a_continuation_is_taken_by_its_own_list_only_and_only_as_it_was_written(team: Team, path: str) -> None:
    following = team.get(path).json()["continuation"]
    assert team.get(f"{path}&continuation={following}").status == 200
    others = [other for other, _ in LISTS if other.partition("?")[0] != path.partition("?")[0]]
    changed = [following[:-9] + other + following[-8:] for other in "Aa" if other != following[-9]]
    unsealed = base64.urlsafe_b64encode(b'["open", ["main", "a"]]').decode()
    for asked, written in [
        *((other.format(1), following) for other in others),
        *((path, one) for one in (*changed, following[:-4], unsealed, "gAAAAA", "x", "%C3%A9%00")),
    ]:
        answer = team.get(f"{asked}&continuation={written}")
        assert answer.status == 400, asked
        assert answer.pointers == ["/continuation"]


def test_an_unknown_vault_and_a_hidden_one_are_answered_alike(team: Team) -> None:
    for route in ROUTES:
        if route.method == "GET" and "{vault}" in route.path:
            answers = [team.get(path_of(route, "d-ours", vault=vault)) for vault in ("nothing", f"{HIDDEN}-vault")]
            assert [one.status for one in answers] == [403, 403], route
    for filtered in ("operations?vault=nothing", f"operations?vault={HIDDEN}-vault"):
        assert team.get(filtered).status == 403


def test_a_sentence_about_unknown_names_lists_only_those_of_the_grants(team: Team) -> None:
    body = {"authority": "nothing", "dns_names": ["www.contoso.example"]}
    for rest, sent in (("create", body), ("renew", {"authority": "nothing"}), ("adopt", {"authority": "nothing"})):
        answer = team.functions.call(
            "POST", f"vaults/{ALIAS}/certificates/d-ours/{rest}", sent, **{"x-ms-client-principal": TEAM.header}
        )
        assert answer is not None
        assert answer.status == 400
        assert "there is no authority 'nothing'; the settings have: test-ca" in answer.json()["detail"] + str(
            answer.json()["errors"]
        )
        assert_hidden(answer, rest)
