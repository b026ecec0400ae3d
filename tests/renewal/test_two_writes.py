"""Tags and policy are changed as if in one write, whichever of the four writes fails."""

import json
from dataclasses import replace
from typing import Any

import pytest

from certrelay.errors import CertRelayError, Invalid, NotReady
from certrelay.renewal import two_writes
from certrelay.storage.renewal_record import RenewalRecord
from tests.renewal.memory import THUMBPRINT, Memory, bundle

TAGS = {"certrelay-authority": "corp", "certrelay-validity-days": "30", "team": "shop"}
OWN = {"certrelay-authority": "corp", "certrelay-validity-days": "30"}
POLICY = {"x509_props": {"validity_months": 1}}
OLDER = RenewalRecord("main", "www", thumbprint="older", failures=3, unfinished="{}")
CLEAN = RenewalRecord("main", "www", thumbprint=THUMBPRINT.hex())
CHANGE = json.dumps({"tags": OWN, "policy": POLICY})
DOWN, REFUSED = NotReady("out of order"), Invalid("not so")


def write(memory: Memory, changes: dict[str, Any] = POLICY) -> Any:
    return two_writes.write(memory.services, "main", bundle(), TAGS, changes)


def test_a_change_is_recorded_before_it_is_written_and_forgotten_after() -> None:
    memory = Memory(bundle(), OLDER)
    assert write(memory) == ({"written": "tags"}, {"written": "policy"})
    assert memory.events == [
        ("save", replace(CLEAN, unfinished=CHANGE)), ("tags", TAGS), ("policy", POLICY), ("save", CLEAN),
    ]  # fmt: skip


def test_an_earlier_change_of_the_same_version_is_not_recorded_again() -> None:
    memory = Memory(bundle(), replace(CLEAN, unfinished="{}"))
    write(memory)
    assert memory.row == CLEAN


@pytest.mark.parametrize(
    ("fails", "raised", "writes", "stays"),
    [
        ({"save": [DOWN]}, DOWN, ["save"], False),
        ({"tags": [DOWN]}, DOWN, ["save", "tags"], True),
        ({"policy": [DOWN]}, DOWN, ["save", "tags", "policy"], True),
        ({"save": [None, DOWN]}, DOWN, ["save", "tags", "policy", "save"], True),
        ({"tags": [REFUSED]}, REFUSED, ["save", "tags", "tags", "save"], False),
        ({"policy": [REFUSED]}, REFUSED, ["save", "tags", "policy", "tags", "save"], False),
        ({"policy": [REFUSED], "tags": [None, DOWN]}, REFUSED, ["save", "tags", "policy", "tags"], True),
        ({"policy": [REFUSED], "tags": [None, Invalid("nor so")]}, REFUSED, ["save", "tags", "policy", "tags"], True),
        ({"policy": [REFUSED], "save": [None, DOWN]}, REFUSED, ["save", "tags", "policy", "tags", "save"], True),
    ],
)
def test_what_may_have_been_written_stays_recorded_and_what_is_refused_is_undone(
    fails: dict[str, list[Exception | None]], raised: Exception, writes: list[str], stays: bool
) -> None:
    memory = Memory(bundle(), CLEAN)
    memory.fails = {kind: list(errors) for kind, errors in fails.items()}
    with pytest.raises(CertRelayError) as error:
        write(memory)
    assert error.value is raised
    assert memory.writes == writes
    assert bool(memory.row.unfinished) is stays
    if raised is REFUSED:
        assert [what for kind, what in memory.events if kind == "tags"][-1] == bundle()["tags"], "as they were"


def test_a_refused_adoption_leaves_a_certificate_without_tags_as_it_was() -> None:
    memory = Memory(bundle(tags=None), CLEAN)
    memory.fails = {"policy": [REFUSED]}
    with pytest.raises(Invalid, match="not so"):
        two_writes.write(memory.services, "main", bundle(tags=None), TAGS, POLICY)
    assert [what for kind, what in memory.events if kind == "tags"] == [TAGS, {}]


def test_a_change_that_does_not_fit_into_the_record_is_refused_before_anything_is_written() -> None:
    room = two_writes.MAX_CHANGE - len(json.dumps({"tags": OWN, "policy": {"x": ""}}))
    largest, memory = {"x": "y" * room}, Memory(bundle(), CLEAN)
    write(memory, largest)
    assert len(memory.events[0][1].unfinished) == 30_000
    memory = Memory(bundle(), CLEAN)
    with pytest.raises(Invalid, match="too large to be recorded"):
        write(memory, {"x": "y" * (room + 1)})
    assert memory.events == []


@pytest.mark.parametrize(
    ("unfinished", "fails", "writes", "raised"),
    [
        ("", {}, [], None),
        (CHANGE, {}, ["tags", "policy", "save"], None),
        (CHANGE, {"tags": [DOWN]}, ["tags"], DOWN),
        (CHANGE, {"policy": [DOWN]}, ["tags", "policy"], DOWN),
        (CHANGE, {"tags": [REFUSED]}, ["tags", "save"], None),
        (CHANGE, {"policy": [REFUSED]}, ["tags", "policy", "save"], None),
        (CHANGE.replace("corp", "other"), {}, ["save"], None),
        ("{", {}, ["save"], None),
        ("7", {}, ["save"], None),
        ("[]", {}, ["save"], None),
        ('{"tags": 7}', {}, ["save"], None),
        ('{"tags": {"certrelay-authority": "corp"}}', {}, ["tags", "save"], None),
    ],
)
def test_a_change_that_was_cut_off_is_finished_or_forgotten_unless_key_vault_is_not_ready(
    unfinished: str, fails: dict[str, list[Exception | None]], writes: list[str], raised: Exception | None
) -> None:
    memory = Memory(bundle(), replace(CLEAN, unfinished=unfinished))
    memory.fails = {kind: list(errors) for kind, errors in fails.items()}
    if raised:
        with pytest.raises(NotReady):
            two_writes.finish(memory.services, memory.row, bundle()["tags"])
        assert memory.row.unfinished == unfinished
    else:
        assert two_writes.finish(memory.services, memory.row, bundle()["tags"]) == memory.row == CLEAN
    assert memory.writes == writes
    for kind, what in memory.events:
        assert kind != "tags" or unfinished != CHANGE or what == OWN | {"team": "web"}, (
            "a caller's tags as they are now"
        )
        assert kind != "policy" or what == POLICY


def test_an_earlier_change_of_this_version_is_finished_and_one_of_another_version_is_over() -> None:
    cut_off = Memory(bundle(), replace(CLEAN, unfinished=CHANGE))
    assert two_writes.finish_earlier(cut_off.services, "main", bundle())
    assert cut_off.writes == ["tags", "policy", "save"]
    assert not two_writes.finish_earlier(Memory(bundle(), CLEAN).services, "main", bundle(tags=None))
    assert not two_writes.finish_earlier(Memory(bundle(), CLEAN).services, "main", bundle())
    other = Memory(bundle(), replace(OLDER, unfinished=CHANGE))
    assert not two_writes.finish_earlier(other.services, "main", bundle())
    assert other.events == []
