"""The filter by state: one state, or several of which each certificate needs one."""

import pytest

from sandbox.vault.seed import Seed, seed
from tests.handlers.in_process import InProcess
from tests.world import ALIAS, World

DAY = 86_400
TAGS = {"certrelay-authority": "test-ca"}
FOUND = {
    "expired": {"over"}, "expiring": {"late"}, "due": {"over", "late", "ripe"}, "expired,expiring": {"over", "late"},
    "expiring,unmanaged": {"late", "other"}, "unmanaged,managed": {"over", "late", "ripe", "young", "other"},
    "disabled": set(), "disabled,expired": {"over"},
}  # fmt: skip


def test_a_certificate_is_listed_once_if_it_is_in_one_of_the_states(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for prefix, age in (("over", 400), ("late", 330), ("ripe", 250), ("young", 10)):
        seed(lonely_world.server.vault, Seed(1, prefix, age=age * DAY, tags=TAGS))
    seed(lonely_world.server.vault, Seed(1, "other", age=10 * DAY))
    api = InProcess(lonely_world, monkeypatch)
    for states, expected in FOUND.items():
        answer = api.call("GET", f"vaults/{ALIAS}/certificates?state={states}")
        assert answer is not None
        listed = [line["name"].split("-")[0] for line in answer.json()["value"]]
        assert (len(listed), set(listed)) == (len(expected), expected), states
