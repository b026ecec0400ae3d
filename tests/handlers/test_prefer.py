"""`Prefer: wait=N` (RFC 7240) over HTTP: the answer to the one call has the ended operation, or is 202 as ever."""

import pytest

from certrelay.operations import waiting
from certrelay.storage.operation import State
from handlers import openapi
from tests.handlers.in_process import InProcess, Response
from tests.world import ALIAS, World, create, made

POLICY = {"key_props": {"kty": "EC", "crv": "P-256"}}


@pytest.fixture
def functions(world: World, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(world, monkeypatch)


def call(functions: InProcess, name: str, action: str, body: object, **headers: str) -> Response:
    answer = functions.call("POST", f"vaults/main/certificates/{name}/{action}", body, **headers)
    assert answer is not None
    return answer


def asked(name: str) -> dict[str, object]:
    return {"authority": "test-ca", "dns_names": [f"{name}.contoso.example"], "policy": POLICY}


@pytest.mark.parametrize(
    "preference",
    ["wait=30", "WAIT = 30", 'wait="30"', "respond-async, wait=30;reason=x", 'x="a, wait=99", wait=30, wait=7'],
)
def test_the_answer_to_the_one_call_is_the_completed_operation(
    functions: InProcess, world: World, preference: str
) -> None:
    name = world.name()
    answer = call(functions, name, "create", asked(name), prefer=preference)
    assert (answer.status, answer.json()["status"]) == (200, "completed")
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert not {"Location", "Retry-After", "ETag"} & answer.headers.keys()
    assert len(world.versions(name)) == 1
    assert call(functions, name, "renew", {}, prefer=preference).json()["status"] == "completed"
    assert len(world.versions(name)) == 2


@pytest.mark.parametrize("headers", [{}, {"prefer": ""}, {"prefer": "respond-async"}, {"prefer": "waiting=5, x=wait"}])
def test_a_caller_who_does_not_wait_is_answered_as_ever(
    functions: InProcess, world: World, headers: dict[str, str]
) -> None:
    name = world.name()
    answer = call(functions, name, "create", asked(name), **headers)
    assert (answer.status, answer.json()["step"]) == (202, "requested")
    assert "Preference-Applied" not in answer.headers
    assert "Location" in answer.headers
    assert not world.ca.orders


def test_an_operation_that_takes_longer_is_answered_with_202_and_where_to_poll(
    functions: InProcess, world: World
) -> None:
    name = world.name()
    world.ca.wait = 9
    answer = call(functions, name, "create", asked(name), prefer="wait=1")
    assert (answer.status, answer.json()["step"]) == (202, "submitted")
    assert {"Location", "Retry-After", "Preference-Applied"} <= answer.headers.keys()
    assert world.finish(name).state is State.COMPLETED


def test_a_failed_operation_is_an_answer_like_any_other(functions: InProcess, world: World) -> None:
    name = world.name()
    world.ca.issue = lambda request: b"no certificate"
    answer = call(functions, name, "create", asked(name), prefer="wait=30")
    assert (answer.status, answer.json()["status"]) == (200, "failed")


@pytest.mark.parametrize("wait", ["61", "-1", "1.5", "soon", "", '"', "٣", "1 0", "9" * 40])
@pytest.mark.parametrize("action", ["create", "renew", "pending/merge"])
def test_a_wait_out_of_range_is_refused_before_anything_is_written(
    functions: InProcess, world: World, action: str, wait: str
) -> None:
    name = world.name()
    body = {"create": asked(name), "renew": {}, "pending/merge": {"x5c": ["AAAA"]}}[action]
    answer = call(functions, name, action, body, prefer=f"wait={wait}")
    assert answer.status == 400
    assert f"0 to {waiting.LONGEST_WAIT}" in answer.json()["detail"]
    assert world.services.storage.open(ALIAS, name) is None


def test_the_same_key_sent_again_finds_the_ended_operation(functions: InProcess, world: World) -> None:
    name = world.name()
    headers = {"prefer": "wait=30", "idempotency-key": "order-1"}
    first, again = (call(functions, name, "create", asked(name), **headers) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert first.json()["id"] == again.json()["id"]
    assert len(world.versions(name)) == 1


def test_a_merge_by_hand_may_wait_too(functions: InProcess, world: World) -> None:
    name = world.name()
    made(world, name)
    world.ca.wait = 9
    create(world, name)
    world.advance(name)
    chain = world.ca.signed(world.ca.seen[-1])
    answer = functions.call(
        "POST", f"vaults/main/certificates/{name}/pending/merge", chain,
        **{"prefer": "wait=30", "content-type": "application/x-pem-file"},
    )  # fmt: skip
    assert answer is not None
    assert (answer.status, answer.json()["status"]) == (200, "completed")
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_the_openapi_document_declares_the_header_and_both_answers() -> None:
    paths = openapi.document()["paths"]
    declared = {
        path.rpartition("/")[2]
        for path, methods in paths.items()
        for parameter in methods.get("post", {}).get("parameters", ())
        if (parameter["name"], parameter["in"]) == ("Prefer", "header")
    }
    assert declared == {"create", "renew", "merge"}
    answers = paths["/vaults/{vault}/certificates/{name}/create"]["post"]["responses"]
    assert {"200", "202"} <= answers.keys()
