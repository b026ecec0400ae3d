"""A world of three authorities: `test-ca`, with `second` and `third` as its fall-backs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.base import Context, Feature, Issued, Outcome, SigningRequest, Unavailable
from certrelay.setting_models import Authority
from certrelay.storage.operation import Operation, State
from tests.world import DAY, TestCa, TestCaSettings, World

FIRST, SECOND, THIRD = "test-ca", "second", "third"
DOWN = Unavailable("out of order")
LIMITED = Unavailable("too many certificates", retry_after=2 * DAY)


class Scripted(TestCa):
    """`refusals`: what `submit` and `collect` answer, while they are in there. `opened`: the orders that are open.

    `doubled`: the orders that were placed while another authority had one of the same operation."""

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.refusals: dict[str, Outcome] = {}
        self.others: tuple[Scripted, ...] = ()
        self.opened: set[str] = set()
        self.doubled: list[str] = []
        self.asked: list[str] = []

    def submit(self, request: SigningRequest) -> Outcome:
        self.asked.append("submit")
        if "submit" in self.refusals:
            self.seen.append(request)
            return self.refusals["submit"]
        self.opened.add(request.operation_id)
        self.doubled += [request.operation_id for other in self.others if request.operation_id in other.opened]
        return self._closed(request, super().submit(request))

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        self.asked.append("collect")
        return self.refusals.get("collect") or self._closed(request, super().collect(request, reference))

    def cancel(self, reference: str) -> None:
        super().cancel(reference)
        self.opened.discard(reference)

    def _closed(self, request: SigningRequest, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Issued):
            self.opened.discard(request.operation_id)
        return outcome


class WithoutElliptic(Scripted):
    features: ClassVar[frozenset[Feature]] = frozenset(Feature) - {Feature.EC}


def with_fallbacks(world: World, **changes: Mapping[str, Any]) -> tuple[World, dict[str, Scripted]]:
    """The world with the three; `changes` of the settings of `first`, `second` and `third`."""
    known = world.services.settings.authorities[FIRST]
    authorities: dict[str, Authority] = {}
    connectors: dict[str, Scripted] = {}
    for name, key in ((FIRST, "first"), (SECOND, "second"), (THIRD, "third")):
        usual = {"connector": f"{__name__}:Scripted", "fallback": (SECOND, THIRD) if name == FIRST else ()}
        update = {**usual, **changes.get(key, {})}
        authority = Authority(name, known.settings.model_copy(update=update), known.connector_settings)
        made = authority.connector_class(TestCaSettings(), Context(name, world.services.now, lambda: None))
        assert isinstance(made, Scripted)
        authorities[name], connectors[name] = authority, made
    for connector in connectors.values():
        connector.others = tuple(other for other in connectors.values() if other is not connector)
    settings = replace(world.services.settings, authorities=authorities)
    services = replace(world.services, settings=settings, connector=connectors.__getitem__)
    return replace(world, services=services, ca=connectors[FIRST]), connectors


def signer(authorities: Mapping[str, Scripted], operation: Operation) -> str:
    """Whose certificate the operation merged, by its chain."""
    assert operation.state is State.COMPLETED, operation.failure
    roots = {one.certificate.public_bytes(Encoding.DER): name for name, one in authorities.items()}
    return roots[operation.chain[-1]]
