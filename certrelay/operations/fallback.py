"""When an authority is unavailable: it is asked again later or, after too long, another one in its place.

Why it is this way: docs/decisions/0010-fall-back-authorities.md.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509

from certrelay import rules, telemetry
from certrelay.access import grants
from certrelay.callers import Role
from certrelay.connectors.base import Unavailable
from certrelay.errors import NotPermitted
from certrelay.log import logger
from certrelay.operations import concurrency, decide, lease, rate
from certrelay.operations.transitions import postpone
from certrelay.pki.encodings import panics_as_errors
from certrelay.services import Services
from certrelay.storage.fallback import Fallback
from certrelay.storage.operation import CertificateRequest, Failure, Operation, State

MAX_WHY = 2000  # characters

log = logger("operations")


def permitted(services: Services, vault: str, name: str, request: CertificateRequest) -> tuple[tuple[str, ...], str]:
    """The fall-backs of the request's authority that the caller's grants reach, and why others are none ("").

    The caller reads that: an authority that none of its grants is for is not named."""
    authority = services.settings.authorities.get(request.authority or "")
    listed = authority.settings.fallback if authority else ()
    if services.caller is None or not listed:
        return listed, ""
    wanted, found, refused = grants.wanted_by(request), [], []
    for other in listed:
        try:
            grants.require_request(services, Role.REQUESTER, vault, name, replace(wanted, authority=other))
            found.append(other)
        except NotPermitted as error:
            if services.knows_authority(other):
                refused.append(f"{other} is no fall-back here: {error}")
            else:
                refused.append("a fall-back is left out: no grant of the caller is for it")
    return tuple(found), "; ".join(dict.fromkeys(refused))


def after_unavailable(services: Services, operation: Operation, outcome: Unavailable) -> Operation:
    """Ask again later, ask another authority, or fail the operation at its deadline. Raises Stale, NotReady."""
    now = services.now()
    if outcome.restart and operation.state is State.SUBMITTED:
        anew = operation.moved(State.PENDING, now, outcome.reason, reference="")
        operation = replace(anew, attempts=max(operation.attempts, decide.orders_lost(operation)))
    operation = replace(operation, unavailable_since=decide.unavailable_since(operation, outcome, now))
    reason = outcome.reason
    if decide.asks_another(operation, outcome, now, _expires(operation)):
        chosen, refusals = _choice(services, operation)
        reason = "; ".join([reason, *refusals])[:MAX_WHY]
        if chosen and now < operation.deadline:
            return _change_over(services, operation, chosen, reason)
    release = concurrency.release if operation.state is State.PENDING else concurrency.release_of_vault
    release(services, operation)
    return postpone(services, operation, Failure("AuthorityUnavailable", reason), outcome.retry_after)


def _change_over(services: Services, operation: Operation, other: str, why: str) -> Operation:
    """Write that `other` is asked from now on. An order that the authority before has is withdrawn in the next step."""
    before, now = operation.authority or "", services.now()
    concurrency.release(services, operation)
    start, hours = rate.reserve_of_authority(services, other, now), services.authority(other).deadline_hours
    deadline = max(operation.deadline, start + timedelta(hours=hours)) if hours else operation.deadline
    text = f"{other} is asked, a fall-back of {operation.request.authority}: {why}"
    changed = operation.moved(
        State.PENDING, now, text, fallback=Fallback(other, now, why), next_attempt_at=start,
        deadline=deadline, unavailable_since=None, withdraw_from=before if operation.reference else "",
    )  # fmt: skip
    saved = lease.save(services, changed, release_lease=not changed.withdraw_from)
    log.warning("%s", text)
    telemetry.fallbacks.add(1, {"authority": operation.request.authority, "fallback": other})
    return saved


def _choice(services: Services, operation: Operation) -> tuple[str, list[str]]:
    """The next authority that can be asked ("": none), and why those before it cannot."""
    refusals: list[str] = []
    for other in _left(operation):
        refusal = next(_refusals(services, operation, other), "")
        if not refusal:
            return other, refusals
        refusals.append(f"{other} cannot be asked: {refusal}")
    return "", refusals


def _left(operation: Operation) -> tuple[str, ...]:
    """The fall-backs after the one that is asked; they are never gone round twice."""
    tried = operation.fallbacks.index(operation.fallback.authority) + 1 if operation.fallback else 0
    return operation.fallbacks[tried:]


def _refusals(services: Services, operation: Operation, other: str) -> Iterator[str]:
    own = services.settings.authorities.get(operation.request.authority or "")
    if own is None or other not in own.settings.fallback:
        yield "the settings do not name it any more"
        return
    try:
        rules.check(services, operation.vault, replace(operation.request, authority=other))
    except NotPermitted as error:
        yield str(error)
    start = rate.next_start_of_authority(services, other)
    if services.now() < operation.deadline <= start:
        yield f"its rate is used up until {start.isoformat(timespec='seconds')}"


def _expires(operation: Operation) -> datetime | None:
    """When the version that is renewed expires (UTC), if its certificate is in the row and can be read."""
    if not operation.replaced:
        return None
    try:
        with panics_as_errors():
            return x509.load_der_x509_certificate(operation.replaced).not_valid_after_utc
    except Exception:  # a parser on bytes from elsewhere
        return None
