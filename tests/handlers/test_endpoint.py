"""What the API says of the endpoint of a certificate: in the certificate, lists and the status; and who may set one."""

from collections.abc import Iterator
from typing import Any

import pytest

from certrelay.watch import timers
from handlers import response_models
from tests.handlers.in_process import InProcess
from tests.renewal.last_mile import HOUR, Estate, served_by_a_server
from tests.world import ALIAS, DAY, World


@pytest.fixture
def estate(lonely_world: World, receiver: Any) -> Iterator[Estate]:
    with served_by_a_server(lonely_world, receiver) as made:
        yield made


def test_every_answer_says_what_is_served_and_since_when_the_newest_version_is_there(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions, here = InProcess(estate.world, monkeypatch), f"vaults/{ALIAS}/certificates"

    def seen() -> Any:
        """What the certificate and the list say alike."""
        answer = functions.call("GET", f"{here}/{estate.name}")
        listed = functions.call("GET", here)
        assert answer is not None and listed is not None
        found = answer.json()["endpoint"]
        response_models.Endpoint.model_validate(found, strict=True)
        assert [line["endpoint"] for line in listed.json()["value"]] == [found]
        return found

    def status() -> tuple[Any, Any]:
        timers.sweep(estate.services)
        answer = functions.call("GET", "status")
        assert answer is not None
        return answer.json()["endpoints"], answer.json()["not_deployed"]

    assert seen().keys() == {"address", "state", "newest_since", "deploy_until"}
    assert (seen()["address"], seen()["state"]) == (estate.endpoint, "unseen")
    assert status() == ({"deployed": 1}, [])
    assert (seen()["state"], seen()["served"]["earlier_version"]) == ("deployed", False)
    old = seen()["served"]["thumbprint"]
    estate.put(estate.made())
    assert seen()["state"] == "pending", "before anybody has looked again"
    estate.world.clock.advance(1.1 * DAY)
    assert status() == ({"not-deployed": 1}, [f"{ALIAS}/{estate.name}"])
    found = seen()
    assert (found["state"], found["served"]["thumbprint"], found["served"]["earlier_version"]) == (
        "not-deployed", old, True,
    )  # fmt: skip
    assert found["newest_since"] < found["deploy_until"] < found["looked_at"] < found["served"]["expires"]
    estate.server.close()
    estate.world.clock.advance(HOUR)
    assert status() == ({"unreachable": 1}, [])
    assert (seen()["error"], seen()["unreachable_since"]) == ("it refuses the connection", seen()["looked_at"])


def test_a_tag_that_no_pattern_allows_is_refused_before_anything_is_written(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = InProcess(estate.world, monkeypatch)
    made = estate.made().pem.decode()
    tags = {"certrelay-endpoint": "169.254.169.254:80"}
    for method, path, body in (
        ("POST", "new/create", {"authority": "test-ca", "dns_names": ["new.contoso.example"], "tags": tags}),
        ("POST", "new/import", {"value": made, "tags": tags}),
        ("PATCH", estate.name, {"tags": tags}),
    ):
        answer = functions.call(method, f"vaults/{ALIAS}/certificates/{path}", body)
        assert answer is not None
        assert (answer.status, answer.pointers) == (400, ["/tags/certrelay-endpoint"]), answer.body
    assert estate.world.vault.get("new") is None
    assert estate.services.storage.open(ALIAS, "new") is None
    assert (estate.swept(), estate.server.connections) == ("deployed", 1)
