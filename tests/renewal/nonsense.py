"""Key Vault, answering nonsense about one certificate."""

from typing import Any

import pytest

from tests.world import World


def broken(world: World, monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """Let Key Vault answer nonsense about this certificate, in lists and by itself."""
    ask = world.vault.call

    def call(method: str, path: str, *rest: Any, **query: Any) -> Any:
        answer = ask(method, path, *rest, **query)
        for item in [*answer.get("value", ()), answer]:
            if str(item.get("id", "")).split("/certificates/")[-1].split("/")[0] == name and "attributes" in item:
                item.update(changes)
        return answer

    monkeypatch.setattr(world.vault, "call", call)
