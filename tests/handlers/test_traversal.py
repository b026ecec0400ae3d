"""Nothing of a caller reaches a Key Vault URL unchecked, and secrets are never touched, whatever a request says."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from certrelay.certificates import read
from certrelay.errors import Invalid
from handlers.routes import ROUTES
from tests.handlers.fields import body_fields
from tests.handlers.in_process import ALLOWED, InProcess, path_of
from tests.world import ALIAS, World, made

# As they stand in a path: the host decodes once.
HOSTILE = (
    "..%2F..%2Fsecrets%2Fwww", "%2e%2e%2f%2e%2e%2fsecrets%2fwww", "..%252F..%252Fsecrets%252Fwww", "..;%2Fsecrets",
    "www%2F..%2F..%2Fsecrets%2Fwww%3Faaaaaaaaaaaaaa", "www%00", "www%3Fapi-version=7.0", "www%23", "www%0A", "www%5C..",
    "..%E2%88%95..%E2%88%95secrets%E2%88%95www", "..%EF%BC%8F..%EF%BC%8Fsecrets", "..%C0%AFsecrets", "..", "%2e%2e",
    "@evil.example", "https:%2F%2Fevil.example%2F", "..%2Fwww%2Fbackup", "%2F%2Fevil.example",
    "..%2Fsecrets%2Fa%2F" + "0" * 16,
)  # fmt: skip


def requests(name: str) -> Iterator[tuple[str, str, Any]]:
    """Method, path and body: every route with each text in each parameter of its path and query, and in each field."""
    for route in ROUTES:
        parameters = re.findall(r"\{(\w+)", route.path)
        for parameter, text in itertools.product(parameters, HOSTILE):
            yield route.method, path_of(route, **{"name": name, parameter: text}), {} if route.body else None
        for query, text in itertools.product(route.query, HOSTILE):
            yield route.method, f"{path_of(route, name)}?{query.name}={text}", None
    for field, text in itertools.product(body_fields(), HOSTILE[:4]):
        if field.schema.get("type") in ("string", "array"):
            value = [text] if field.schema["type"] == "array" else text
            yield field.route.method, path_of(field.route, name), field.body(value)


@pytest.mark.slow
def test_no_request_makes_key_vault_do_anything_but_what_the_role_lists(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lonely_world
    name = world.name()
    made(world, name)
    functions = InProcess(world, monkeypatch)
    world.server.requests.clear()
    asked = refused = 0
    for method, path, body in requests(name):
        answer = functions.call(method, path, body)
        asked += 1
        assert answer is None or answer.status in range(200, 500), (method, path, body, answer)
        refused += answer is not None and answer.status in (400, 404)
    assert asked > 1500
    assert refused > 1000
    counts = world.server.requests.counts()
    assert set(counts) <= ALLOWED, "no request that Key Vault does not know, nor one of secrets or keys"
    assert counts["GetCertificates"] > 3, "harmless ones were let through"


NOTHING_PASSED = "-" * 600  # of the page that a continuation names


def token(world: World, position: Any) -> str:
    """A continuation that says this, as if whoever can write to the storage account had made it."""
    return world.services.storage.continuations.seal(f"certificates of {ALIAS}", position)


@pytest.mark.parametrize(
    "path",
    [
        "/secrets?maxresults=25", "/certificates/www?a=b", "/certificates?",
        "/certificates?maxresults=25&api%2Dversion=1",
        "/certificates?maxresults=25#/../secrets", "/certificates?maxresults=25\n", "/certificates?$skiptoken=a/../b",
        "//evil.example/certificates?maxresults=25", "/certificates?maxresults=25&", "/certificates?maxresults=250",
        7, None,
        "/certificates?includePending=true", "https://evil.example/certificates?maxresults=25",
    ],
)  # fmt: skip
def test_a_continuation_names_a_page_of_the_list_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, path: Any
) -> None:
    functions = InProcess(world, monkeypatch)
    monkeypatch.setattr(world.vault, "page", lambda path: pytest.fail(f"asked for {path}"))
    for value in ([path, NOTHING_PASSED], [path], path, [path, NOTHING_PASSED, 0]):
        answer = functions.call("GET", f"vaults/{ALIAS}/certificates?continuation={token(world, value)}")
        assert answer is not None
        assert (answer.status, answer.pointers) == (400, ["/continuation"])


@pytest.mark.parametrize("passed", [-1, 25, 10**400, 1.5, True, "1", None, [], "a" * 612, "A" * 12, "-" * 601, "-\n"])
def test_a_continuation_passes_lines_of_one_page(world: World, monkeypatch: pytest.MonkeyPatch, passed: Any) -> None:
    answer = InProcess(world, monkeypatch).call(
        "GET", f"vaults/{ALIAS}/certificates?continuation={token(world, ['/certificates?maxresults=25', passed])}"
    )
    assert answer is not None
    assert (answer.status, answer.pointers) == (400, ["/continuation"])


@pytest.mark.parametrize(
    "link",
    ["api-version=2025-07-01&$skiptoken=eyJOZXh0TWFya2VyIjoi%3D&maxresults=25", "maxresults=5&%24skiptoken=YQ=="],
)
def test_key_vaults_own_continuations_are_taken(link: str) -> None:
    assert read.LIST_PATH.fullmatch(f"/certificates?{link}")


@pytest.mark.parametrize(
    "path",
    [
        "/secrets/www", "/certificates/../secrets/www", "/certificates/www/..", "/certificates/a/b/c/d", "/keys/www",
        "",
        "/certificates/www%2Fx", "/certificates/www?a=b/../c", "/certificates/www?a=b#c", "/certificates/www?a", "//x",
        "/certificates/www\n", "/certificates//secrets", "/deletedcertificates/www/.", "/certificates/\u0661",
        "/certificates/" + "w" * 128, "/certificates/www?a=b&&c=d", "https://evil.example/certificates/www",
    ],
)  # fmt: skip
def test_the_client_itself_sends_nothing_that_is_no_path_of_certificates(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """One place, whoever forgot to check: a row that somebody edited, a link of Key Vault's, a caller."""
    monkeypatch.setattr(world.vault._client, "send_request", lambda *_, **__: pytest.fail("it was sent"))
    with pytest.raises(Invalid, match="Key Vault is not asked for this"):
        world.vault.call("GET", path)
