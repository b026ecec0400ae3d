"""What the API says of a certificate that a fall-back has signed, and of one that it may not sign."""

import json
from dataclasses import replace
from typing import Any

import pytest

from certrelay.callers import Caller, Role
from certrelay.notifications import formats
from certrelay.setting_models import Grant
from tests.handlers.in_process import InProcess
from tests.notifications.receiver import delivered, listening
from tests.operations.creations import create, row
from tests.operations.fallbacks import DOWN, FIRST, LIMITED, SECOND, THIRD, signer, with_fallbacks
from tests.world import ALIAS, World


def test_every_answer_says_who_signed_and_why(world: World, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url, got, _ = receiver
    world, authorities = with_fallbacks(listening(world, url))
    functions, name = InProcess(world, monkeypatch), world.name()

    def ask(path: str) -> Any:
        answer = functions.call("GET", path)
        assert answer is not None
        assert answer.status == 200, answer.body
        return answer.json()

    here = f"vaults/{ALIAS}/certificates/{name}"
    authorities[FIRST].refusals["submit"] = LIMITED
    authorities[SECOND].wait = 1
    create(world, name)
    world.advance(name, 2)
    pending = ask(f"{here}/pending")
    assert (pending["authority"], pending["step"]) == (SECOND, "submitted")
    assert pending["fallback"].items() >= {"of": FIRST, "why": "too many certificates"}.items()
    assert pending["status_details"].endswith(f"; {SECOND} is asked, a fall-back of {FIRST}: too many certificates")
    assert [one["id"] for one in ask(f"operations?authority={SECOND}")["value"]] == [pending["id"]]
    assert ask(f"operations?authority={FIRST}")["value"] == []
    authorities[SECOND].refusals = {"collect": DOWN}
    world.advance(name)
    (failing,) = world.services.storage.failing()
    assert (failing.authority, failing.code) == (SECOND, "AuthorityUnavailable"), "an incident names the right one"
    authorities[SECOND].refusals = {}
    assert signer(authorities, world.finish(name)) == SECOND
    (ended,) = ask(f"{here}/history")["value"]
    assert ended["status_details"].endswith(f"; signed by {SECOND}, a fall-back of {FIRST}: too many certificates")
    detail = ask(here)
    assert (detail["signed_by"], detail["fallback"]) == (SECOND, ended["fallback"])
    assert detail["tags"]["certrelay-authority"] == FIRST
    assert {one["name"]: one["fallback"] for one in ask("authorities")["value"]} == {
        FIRST: [SECOND, THIRD], SECOND: [], THIRD: [],
    }  # fmt: skip
    assert world.services.storage.watch.rows("answered").keys() == {SECOND}, "that proves nothing of the first"
    delivered(world)
    event = json.loads(got[-1][1])
    assert (event["data"]["authority"], event["data"]["fallback"]) == (SECOND, ended["fallback"])
    said = formats.sentence(event)
    assert said.endswith(f"(create, {SECOND}, a fall-back of {FIRST}: too many certificates).")


def test_a_fall_back_that_the_callers_grants_do_not_reach_is_not_asked(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    create(on_behalf(world, Grant(principal="Requester", role="Requester", authorities=(FIRST, THIRD))), name)
    assert row(world, name).fallbacks == (THIRD,)
    detail = row(world, name).transitions[0].detail
    assert detail == "a fall-back is left out: no grant of the caller is for it", "the caller must not know its name"
    authorities[FIRST].refusals["submit"] = LIMITED
    ended = world.finish(name)
    assert signer(authorities, ended) == THIRD
    assert authorities[SECOND].asked == []


def test_a_fall_back_that_the_caller_knows_from_elsewhere_is_named(world: World) -> None:
    world, _ = with_fallbacks(world)
    here = Grant(principal="Requester", role="Requester", authorities=(FIRST, THIRD))
    elsewhere = Grant(principal="Requester", role="Requester", authorities=(SECOND,), certificates=("elsewhere-*",))
    name = world.name()
    create(on_behalf(world, here, elsewhere), name)
    assert row(world, name).transitions[0].detail.startswith(f"{SECOND} is no fall-back here: your grants for")


def on_behalf(world: World, *grants: Grant) -> World:
    caller = Caller("alice", Role.REQUESTER, ("alice",), by_grants=True, grants=grants)
    return replace(world, services=replace(world.services, caller=caller))
