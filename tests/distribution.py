"""How pytest-xdist's workers share the tests: what shares a server stays on one worker, the longest comes first.

`--dist loadgroup` groups nothing under pytest 9.2 (https://github.com/pytest-dev/pytest-xdist/issues/1386).
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# These share a sandbox that is expensive to start. The pattern is searched in the test's node ID.
TOGETHER = {r"/handlers/test_(grants|owners|routes_and_roles)\.py": "shared", r"/handlers/": "handlers"}
# Each test of these files starts servers of its own: any worker may take it.
APART = {"test_host_life.py", "test_killed_host.py", "test_when_time_passes.py"}
# Seconds on an idle machine, of the groups that take longest. Only their order matters. All others follow.
SECONDS = {
    "handlers": 70,
    "shared": 65,
    "test_acme_soak.py": 60,
    "test_scale.py": 60,
    "test_crashes.py": 60,
    "test_simulation.py": 60,
    "test_host.py": 12,
    "test_concurrency.py": 35,
    "test_demo.py": 30,
    "test_rate.py": 30,
    "test_replacement_run.py": 25,
    "test_corpora.py": 25,
    "test_order.py": 20,
    "test_connector.py": 20,
    "test_order_failures.py": 20,
    "test_challenge_records.py": 20,
    "test_account_key.py": 20,
    "test_alerts.py": 15,
    "test_client.py": 15,
    "test_vault_pki.py": 15,
    "test_vault_pki_login.py": 15,
    "test_when_time_passes.py": 15,
    "test_killed_host.py": 15,
    "test_signed_in.py": 14,
    "test_state.py": 15,
    "test_adcs.py": 15,
    "test_dev.py": 15,
    "test_adopt.py": 10,
    "test_replacements.py": 10,
    "test_reconcile.py": 10,
    "test_signing.py": 10,
    "test_renew.py": 10,
    "test_events.py": 10,
    "test_sweep.py": 10,
    "test_records.py": 10,
    "test_issuer.py": 10,
    "test_up.py": 15,
    "test_host_life.py": 4,
    "test_import_now.py": 10,
}
LONG = 10


def group_of(node_id: str) -> str:
    """The name of the group that a test belongs to: one of TOGETHER, its file's path, or its own node ID."""
    for pattern, name in TOGETHER.items():
        if re.search(pattern, node_id):
            return name
    path = node_id.partition("::")[0]
    return node_id if PurePosixPath(path).name in APART else path


def seconds(group: str) -> int:
    """How long a group takes, roughly: 0 for the short ones."""
    return SECONDS.get(PurePosixPath(group.partition("::")[0]).name, 0)


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]
    """Takes the groups in the order in which the tests were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        """A worker begins its last test only when it has another one to go on with. Nothing long waits behind a long
        group: the shortest does."""
        if any(seconds(name) >= LONG for name, tests in self.assigned_work[node].items() if not all(tests.values())):
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def workers(config: pytest.Config) -> int:
    """For `-n auto`: two for each processor, since the tests wait for servers much of the time; none for one file."""
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    files = {file for path in paths for file in (path.rglob("test_*.py") if path.is_dir() else [path])}
    return 0 if len(files) < 2 else min(len(files), 2 * (os.process_cpu_count() or 1))
