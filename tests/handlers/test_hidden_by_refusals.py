"""What grants hide is in no refusal either: what a caller may not know is answered like what is not there."""

from collections.abc import Iterator
from typing import Any

import pytest

from certrelay.keyvault.tags import managed_tags
from certrelay.renewal import replacements
from certrelay.renewal.replacements import Criteria
from handlers.routes import ROUTES
from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.vault import VaultServer
from tests.fixtures import connected
from tests.handlers.hidden import CA, HIDDEN, OF_ONE_VAULT, SETTINGS, TEAM
from tests.handlers.in_process import InProcess, Response
from tests.handlers.people import Person
from tests.world import ALIAS, KEY, World, made, make_world

pytestmark = pytest.mark.slow

OTHER_VAULT, OTHER_CA = f"{HIDDEN}-vault", f"{HIDDEN}-ca"
NOTHING = "nothing"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[World]:
    """A deployment whose other authority has rules that nothing meets."""
    with (
        pytest.MonkeyPatch.context() as environment,
        VaultServer(tmp_path_factory.mktemp("strict"), clock=Clock()) as server,
    ):
        connected(server, azurite, environment)
        vaults = f'{{"{ALIAS}": {{"url": "{server.url}"}}, "{OTHER_VAULT}": {{"url": "https://127.0.0.1:9"}}}}'
        rules = '"rules": {"names": ["nobody.example"], "minimum_rsa_size": 4096, "key_types": ["RSA"]}'
        other = f', "{OTHER_CA}": {{{CA}, {rules}}}'
        world = make_world(server, azurite, server.clock, other, CERTRELAY_VAULTS=vaults, **SETTINGS)
        for name in ("d-ours", "z-ours"):
            made(world, name)
        tags = managed_tags(OTHER_CA, 90, None)
        world.services.vault(ALIAS).call("PATCH", "/certificates/z-ours", {"tags": tags})
        yield world


@pytest.fixture
def functions(strict: World, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(strict, monkeypatch)


def sent(functions: InProcess, who: Person, path: str, body: Any, **headers: str) -> Response:
    answer = functions.call("POST", path, body, **{"x-ms-client-principal": who.header, **headers})
    assert answer is not None, path
    return answer


def told(answer: Response, name: str) -> tuple[int, str]:
    """The status and the text of a refusal, with `nothing` for the name that was asked for."""
    body = answer.json()
    del body["correlation_id"]
    return answer.status, str(body).replace(name, NOTHING)


ORDERS = [
    ("create", {"dns_names": ["www.contoso.example"], "policy": KEY}),
    ("create", {"dns_names": ["www.elsewhere.example"], "policy": {"key_props": {"kty": "RSA", "key_size": 2048}}}),
    ("renew", {}),
    ("adopt", {}),
    ("adopt", {"force": True, "validity_days": 3650}),
]


@pytest.mark.parametrize(("rest", "body"), ORDERS)
def test_an_authority_that_a_grant_hides_is_answered_like_an_unknown_one(
    functions: InProcess, rest: str, body: dict[str, Any]
) -> None:
    name = "e-ours" if rest == "create" else "d-ours"
    path = f"vaults/{ALIAS}/certificates/{name}/{rest}"
    unknown, hidden = (sent(functions, TEAM, path, {"authority": ca, **body}) for ca in (NOTHING, OTHER_CA))
    assert told(unknown, NOTHING) == told(hidden, OTHER_CA)
    assert hidden.status == 400


def test_a_vault_that_a_grant_hides_is_answered_like_an_unknown_one_by_a_replacement(functions: InProcess) -> None:
    for more, status in (
        ({"names": ["x"]}, 403), ({"names": ["x"], "authority": "test-ca"}, 403),
        ({}, 400), ({"serial_numbers": ["x"]}, 400),
    ):  # fmt: skip
        unknown, hidden = (
            sent(functions, OF_ONE_VAULT, "replacements", {"vaults": [ALIAS, vault], **more})
            for vault in (NOTHING, OTHER_VAULT)
        )
        assert told(unknown, NOTHING) == told(hidden, OTHER_VAULT)
        assert hidden.status == status, "what is malformed is no secret"


def test_every_vault_and_authority_of_a_path_is_answered_alike_by_all_methods(functions: InProcess) -> None:
    for route in ROUTES:
        for who in (TEAM, OF_ONE_VAULT) if "{vault}" in route.path else (TEAM,):
            answers = []
            for vault, authority in ((NOTHING, NOTHING), (OTHER_VAULT, OTHER_CA)):
                values = {"vault": vault, "authority": authority, "name": "d-ours", "version": "0" * 32, "issuer": "x"}
                path = route.path.replace("{version:length(32)}", "{version}")
                path = path.format_map({**values, "id": "0" * 32, "target": "ops"})
                if vault in path or authority in path:
                    answer = functions.call(route.method, path, {}, **{"x-ms-client-principal": who.header})
                    assert answer is not None
                    answers.append((answer.status, answer.json()["detail"].replace(vault, "").replace(authority, "")))
            assert answers[:1] == answers[1:], route


@pytest.mark.parametrize(("method", "rest", "body"), [("POST", "renew", {}), ("PATCH", "policy", {"key_props": {}})])
def test_no_refusal_tells_the_rules_of_an_authority_that_no_grant_is_for(
    functions: InProcess, method: str, rest: str, body: dict[str, Any]
) -> None:
    path = f"vaults/{ALIAS}/certificates/z-ours/{rest}"
    answer = functions.call(method, path, body, **{"x-ms-client-principal": TEAM.header})
    assert answer is not None
    assert (answer.status, answer.json()["code"]) == (403, "NotGranted"), answer.body
    assert answer.json()["detail"].endswith(f"do not allow authority {OTHER_CA}"), "its tag says so, too"


def test_an_idempotency_key_of_somebody_whom_a_grant_hides_is_free(strict: World, functions: InProcess) -> None:
    theirs = replacements.start(strict.services, Criteria(names=("no-such-name",)), HIDDEN, "monday")
    mine = {"vaults": [ALIAS], "names": ["no-such-name"]}
    first, again = (sent(functions, OF_ONE_VAULT, "replacements", mine, **{"idempotency-key": "monday"}) for _ in "12")
    assert first.status == 202, first.body
    assert first.json()["id"] == again.json()["id"] != theirs.id
    other = sent(functions, OF_ONE_VAULT, "replacements", {**mine, "names": ["x"]}, **{"idempotency-key": "monday"})
    assert (other.status, other.json()["code"]) == (409, "KeyReused")
    shared = replacements.start(strict.services, Criteria(names=("no-such-name",)), "another administrator", "monday")
    assert shared.id == theirs.id, "whoever may read it shares it"
