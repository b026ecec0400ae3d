"""The house: imports go down the floors, never up, and never in a circle (docs/decisions/0005-rooms-and-floors.md)."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.syntax import imported

# From the top down. What stands on one floor does not import each other.
FLOORS = (
    ("function_app",),
    ("handlers",),
    ("certrelay.certificates", "certrelay.watch"),
    ("certrelay.renewal",),
    ("certrelay.operations",),
    ("certrelay.access",),
    ("certrelay.rules", "certrelay.health", "certrelay.authorities", "certrelay.notifications"),
    ("certrelay.services",),
    ("certrelay.settings", "certrelay.callers"),
    ("certrelay.setting_models",),
    ("certrelay.connectors",),
    ("certrelay.storage",),
    ("certrelay.keyvault",),
    ("certrelay.pki",),
    ("certrelay.validation",),
    (
        "certrelay.errors",
        "certrelay.endpoints",
        "certrelay.setting_references",
        "certrelay.schedules",
        "certrelay.log",
        "certrelay.telemetry",
    ),
    ("certrelay.redaction", "certrelay.pooled", "certrelay.side_by_side"),
)
# A house of its own: the command knows the app by its HTTP API alone, and its client can be installed without it.
COMMAND_FLOORS = (
    ("certrelay_cli.__main__",),
    ("certrelay_cli.main",),
    tuple(f"certrelay_cli.{name}" for name in (
        "certificates", "changes", "files", "fleet", "issuers", "service", "signin",
    )),
    ("certrelay_cli.follow",),
    ("certrelay_cli.options", "certrelay_cli.session"),
    ("certrelay_cli.code",),
    ("certrelay_cli.config", "certrelay_cli.keys", "certrelay_cli.triggers", "certrelay_cli.words"),
    ("certrelay_cli.exits", "certrelay_cli.inputs"),
    ("certrelay_client",),
)  # fmt: skip
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
COMMAND_FLOOR = {room: number for number, rooms in enumerate(COMMAND_FLOORS) for room in rooms}
HOUSES = {"product": FLOOR, "command": COMMAND_FLOOR}
IN_ROOMS = ("certrelay", "certrelay_cli")  # packages that are divided into rooms


def name_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "cli" else parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    """Every module of the product, the sandbox and the command, by its dotted name."""
    roots = ("function_app.py", "handlers", "certrelay", "sandbox", "cli")
    paths = [path for root in map(Path, roots) for path in ([root] if root.is_file() else sorted(root.rglob("*.py")))]
    return {name_of(path): path for path in paths}


@cache
def imports_of(name: str) -> frozenset[str]:
    """The modules of ours that a module imports, anywhere in its code."""
    names = imported(modules()[name])
    found = {*names, *(one.rpartition(".")[0] for one in names)}
    packages = {name for name in found if modules().get(name, Path()).name == "__init__.py"}
    return frozenset((found & modules().keys()) - packages - {name})


def room_of(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in IN_ROOMS else parts[0]


def arrows() -> Iterator[tuple[str, str]]:
    yield from ((name, imported) for name in modules() for imported in sorted(imports_of(name)))


def test_every_module_of_the_product_and_of_the_command_stands_on_a_floor() -> None:
    rooms = {room_of(name) for name in modules()} - {"sandbox", *IN_ROOMS}
    assert rooms == FLOOR.keys() | COMMAND_FLOOR.keys(), "a room is new or gone: give it its place in a house"


@pytest.mark.parametrize("house", HOUSES)
def test_imports_go_down_the_floors(house: str) -> None:
    floor = HOUSES[house]
    wrong = [
        f"{name} imports {imported}"
        for name, imported in arrows()
        if room_of(name) != room_of(imported) and {room_of(name), room_of(imported)} <= floor.keys()
        and floor[room_of(imported)] <= floor[room_of(name)]
    ]  # fmt: skip
    assert wrong == []


def test_the_command_and_the_rest_know_nothing_of_each_other() -> None:
    """The command speaks HTTP, so that it can be installed alone and be older or newer than the app."""
    wrong = [
        f"{name} imports {imported}"
        for name, imported in arrows()
        if (room_of(name) in COMMAND_FLOOR) != (room_of(imported) in COMMAND_FLOOR)
    ]
    assert wrong == []
    assert {room_of(name) for name, _ in arrows()} >= {"certrelay_cli.main", "certrelay_client"}, "nothing was read"


def test_nothing_that_is_deployed_knows_the_sandbox() -> None:
    assert [
        f"{name} imports {to}" for name, to in arrows() if room_of(name) in FLOOR and room_of(to) == "sandbox"
    ] == []


def test_x509_can_be_read_alone() -> None:
    rooms = {room_of(imported) for name, imported in arrows() if room_of(name) == "certrelay.pki"}
    assert rooms == {"certrelay.pki", "certrelay.errors"}


def test_only_the_registry_knows_a_connector() -> None:
    """Shared modules of the room are no connectors; what imports a connector would tie the product to it."""
    shared = {"base", "registry", "settings", "http", "single_flight"}
    wrong = [
        f"{name} imports {imported}"
        for name, imported in arrows()
        if room_of(imported) == "certrelay.connectors" and room_of(name) != "certrelay.connectors"
        and room_of(name) in FLOOR and imported.split(".")[2] not in shared
    ]  # fmt: skip
    assert wrong == []


def test_no_imports_run_in_a_circle() -> None:
    assert circles({name: imports_of(name) for name in modules()}) == []


def circles(graph: dict[str, frozenset[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not."""
    reach = {name: reachable(graph, name) for name in graph}
    found = {frozenset(other for other in graph if other in reach[name] and name in reach[other]) for name in graph}
    return sorted(sorted(group) for group in found if group)


def reachable(graph: dict[str, frozenset[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return seen


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
    ],
)
def test_a_circle_is_found_and_named(graph: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert circles({name: frozenset(to) for name, to in graph.items()}) == expected
