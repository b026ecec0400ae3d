"""Weeks of renewals under faults, with every promise kept; and a simulation that sees when one is broken."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.storage.operation import Kind, Operation, State
from sandbox.azurite import VERSION, Azurite
from sandbox.simulation import __main__ as program
from sandbox.simulation import owners, plan, promises
from sandbox.simulation.__main__ import BEGINS, rendered
from sandbox.simulation.plan import AUTHORITIES, DAY, Plan, PlannedCertificate
from sandbox.simulation.world import ALIAS, World
from sandbox.simulation.year import Report, simulate
from tests.sandbox.vault.webhook import eventually

pytestmark = pytest.mark.slow

STRUCK = {
    "Key Vault is down for hours",
    "Key Vault throttles creations for hours",
    "authority called while down for 3 days",
    "authority's answer lost",
    "event doubled",
    "event forged",
    "event lost",
    "message doubled",
    "message lost",
    "worker killed",
}


def small(days: int, *fleet: PlannedCertificate, seed: int = 3) -> Plan:
    return replace(plan.draw(seed, BEGINS, days, 1), fleet=fleet)


def six_days(name: str) -> PlannedCertificate:
    return PlannedCertificate(name, 6, "", "steady", BEGINS)


# Of each authority one that is renewed every few days, one that is imported, and one that is never due.
SHORT_LIVED = (
    PlannedCertificate("sim-quick", 6, "days_before_expiry=4", "quick", BEGINS),
    six_days("sim-steady"),
    PlannedCertificate("sim-slow", 10, "days_before_expiry=6", "slow", BEGINS),
    PlannedCertificate("sim-limited", 10, "days_before_expiry=6", "limited", BEGINS + DAY),
    PlannedCertificate("sim-renewal-info", 10, "days_before_expiry=6", "renewal-info", BEGINS),
    PlannedCertificate("sim-adopted", 10, "days_before_expiry=6", "quick", BEGINS, adopted=True),
    PlannedCertificate("sim-long", 90, "", "slow", BEGINS),
)


def test_in_16_days_of_faults_nothing_expires_nothing_is_doubled_and_nothing_stays_open(
    tmp_path: Path, azurite: Azurite
) -> None:
    report = simulate(small(16, *SHORT_LIVED, seed=38), tmp_path, azurite)
    assert report.violations == [], rendered(report)
    assert {what for what, count in report.faults.items() if count} >= STRUCK
    assert report.renewals.total() >= 20
    assert report.renewals.keys() == AUTHORITIES.keys()
    assert report.over_limit == 0


def test_a_certificate_that_expires_is_reported_once(tmp_path: Path, azurite: Azurite) -> None:
    down = {"steady": ((BEGINS + 2 * DAY, BEGINS + 9 * DAY),)}
    report = simulate(replace(small(7, six_days("sim-lost")), outages=down), tmp_path, azurite)
    seen, told_at_the_end = report.violations
    assert seen.startswith("sim-lost (steady, 6 days) expired at 2027-01-")
    assert "sim-lost: version" in told_at_the_end
    assert "expired before" in told_at_the_end
    text = rendered(report)
    assert "BROKEN PROMISES" in text
    assert "--seed 3" in text


def test_an_authority_that_is_down_for_longer_than_its_certificates_live_has_a_fall_back(
    tmp_path: Path, azurite: Azurite
) -> None:
    """Seven days, and certificates of six: without the fall-back each would expire. Then the first signs again."""
    begin, end = BEGINS + 3 * DAY, BEGINS + 10 * DAY
    planned = replace(six_days("sim-kept"), authority="quick")
    drawn = replace(small(13, planned), outages={"quick": ((begin, end),)}, fallback={"quick": ("steady",)})
    report = simulate(drawn, tmp_path, azurite)
    assert report.violations == [], rendered(report)
    assert report.renewals["steady"] >= 1
    assert report.renewals["quick"] >= 1


def test_an_owner_whose_order_has_failed_orders_anew(tmp_path: Path, azurite: Azurite) -> None:
    """An authority that is down for longer than an order may take is no broken promise."""
    planned = PlannedCertificate("sim-late", 30, "", "quick", BEGINS + DAY)
    down = {"quick": ((BEGINS + DAY / 2, BEGINS + 7 * DAY / 2),)}
    report = simulate(replace(small(6, planned), outages=down), tmp_path, azurite)
    assert report.violations == [], rendered(report)
    assert report.ended["failed"] >= 1
    assert report.ended["completed"] == 1


def test_what_the_history_and_the_versions_do_not_agree_on_is_reported(tmp_path: Path, azurite: Azurite) -> None:
    planned = six_days("sim-kept")
    fleet = {planned.name: planned}
    with World(tmp_path, small(1, planned), azurite) as world:
        assert promises.broken_at_the_end(world, fleet) == ["sim-kept was never created"]
        world.services.storage.record(operation := _completed(world, planned))
        assert any("0 versions, and 1" in text for text in promises.broken_at_the_end(world, fleet))
        world.services.storage.insert(replace(operation, state=State.PENDING))
        assert any("still open" in text for text in promises.broken_at_the_end(world, fleet))
        world.set_clock(operation.deadline + timedelta(hours=1))
        assert any("past its deadline" in text for text in promises.broken_now(world, fleet))


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, ""),
        ({"requested_at": BEGINS + 40 * DAY}, "before it was due"),
        ({"ended_at": BEGINS + 90 * DAY}, "expired before"),
        ({"ended_at": BEGINS + 63 * DAY}, "ended past its deadline"),
        ({"state": State.FAILED, "ended_at": BEGINS + 63 * DAY}, "ended past its deadline"),
        ({"replaces": "0" * 32}, "renewed a version that does not exist"),
        ({"requested_at": BEGINS + 63 * DAY}, "was not requested by then"),
    ],
)
def test_a_renewal_that_breaks_a_promise_is_reported(
    tmp_path: Path, azurite: Azurite, changes: dict[str, Any], broken: str
) -> None:
    with _imported(tmp_path, azurite) as (world, fleet, renewal):
        world.services.storage.record(replace(renewal, **changes))
        found = [text for text in promises.broken_at_the_end(world, fleet) if "operations completed" not in text]
    assert (broken in " ".join(found)) if broken else found == []


def test_a_version_that_is_renewed_twice_is_reported(tmp_path: Path, azurite: Azurite) -> None:
    with _imported(tmp_path, azurite) as (world, fleet, renewal):
        for suffix in ("", "2"):
            world.services.storage.record(replace(renewal, id=renewal.id + suffix))
        assert any("was renewed twice" in text for text in promises.broken_at_the_end(world, fleet))


@contextmanager
def _imported(directory: Path, azurite: Azurite) -> Iterator[tuple[World, dict[str, PlannedCertificate], Operation]]:
    """A certificate of 90 days that its owner imported, and a renewal as it should be."""
    planned = PlannedCertificate("sim-imported", 90, "", "quick", BEGINS, adopted=True)
    with World(directory, replace(small(90, planned), worker_killed=0.0), azurite) as world:
        owners.request(world, planned)
        imported = world.server.vault.find(planned.name)
        assert imported is not None
        begins = BEGINS + 61 * DAY
        yield world, {planned.name: planned}, replace(
            _completed(world, planned), kind=Kind.RENEW, replaces=imported.current.id,
            requested_at=begins, deadline=begins + DAY, ended_at=begins + DAY,
        )  # fmt: skip


def _completed(world: World, planned: PlannedCertificate) -> Operation:
    asked = CertificateSpec(
        planned.authority, {"key_props": {"kty": "EC"}}, dns_names=("a.contoso.example",), validity_days=6
    )
    made = create.create(world.services, ALIAS, planned.name, asked, requested_by="test")
    world.services.storage.remove(made)
    return replace(made, state=State.COMPLETED, version="0" * 32)


def test_a_renewal_before_its_time_is_before_the_earliest_moment() -> None:
    expires = BEGINS + 90 * DAY
    for trigger, left in (("", 30), ("days_before_expiry=20", 20), ("lifetime_percentage=70", 27)):
        planned = PlannedCertificate("a", 90, trigger, "quick", BEGINS)
        assert expires - planned.earliest_renewal(BEGINS, expires) == left * DAY
    planned = PlannedCertificate("a", 90, "", "renewal-info", BEGINS)
    assert expires - planned.earliest_renewal(BEGINS, expires) == 45 * DAY


def test_a_seed_draws_the_same_plan_again_and_another_seed_another() -> None:
    one, same, other = (plan.draw(seed, BEGINS, 365, 200) for seed in (5, 5, 6))
    assert (one.fleet, one.outages, one.windows) == (same.fleet, same.outages, same.windows)
    assert one.fleet != other.fleet
    assert {planned.days for planned in one.fleet} == {6, 30, 47, 90, 100, 200, 365, 730}
    assert {planned.authority for planned in one.fleet} == set(AUTHORITIES)
    assert 10 < sum(planned.adopted for planned in one.fleet) < 50


@pytest.mark.parametrize(("violations", "code"), [([], 0), (["sim-1 expired"], 1)])
def test_the_exit_code_tells_whether_the_promises_were_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], violations: list[str], code: int
) -> None:
    monkeypatch.setattr(program, "simulate", lambda drawn, directory, progress: Report(9, 1, 1, violations=violations))
    assert program.main(["--days", "1", "--certificates", "1", "--seed", "9"]) == code
    assert ("sim-1 expired" in capsys.readouterr().out) == bool(violations)


def started(directory: Path, **environment: str) -> subprocess.Popen[str]:
    """The command, with its temporary files in this directory."""
    command = [sys.executable, "-m", "sandbox.simulation", "--certificates", "20", "--seed", "1"]
    known = {**os.environ, "TMPDIR": str(directory), **environment}
    return subprocess.Popen(command, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_ends_it_finds_nothing_left(tmp_path: Path, azurite: Azurite, number: int, code: int) -> None:
    with started(tmp_path) as running:
        eventually(lambda: bool(list(tmp_path.glob("*/vault/vault.json"))))
        running.send_signal(number)
        _, error = running.communicate(timeout=120)
    assert (running.returncode, error) == (code, "")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_part_that_does_not_start_breaks_no_promise(tmp_path: Path) -> None:
    (tmp_path / "cache" / f"azurite-{VERSION}").mkdir(parents=True)
    with started(tmp_path, CERTRELAY_CACHE=str(tmp_path / "cache")) as running:
        _, error = running.communicate(timeout=120)
    assert (running.returncode, error.partition(":")[0]) == (2, "dev.py simulate")
    assert "Traceback" not in error
