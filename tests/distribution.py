"""How pytest-xdist's workers share the tests: what shares a server stays on one worker, the longest comes first.

`--dist loadgroup` groups nothing under pytest 9.2 (https://github.com/pytest-dev/pytest-xdist/issues/1386).
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_APP = "api_examples|certificate_guide|contract|corpora|health_delay|odd_certificates|page_over_http|status"
# These share a sandbox that is expensive to start. The pattern is searched in the test's node ID.
TOGETHER = {
    r"/handlers/test_(grants|owners)\.py": "shared",
    rf"/handlers/test_({_APP})\.py": "handlers",
    r"/cli/test_\w*over_http": "cli",
    r"/page/": "page",
    r"/aws_pca/": "aws_pca",
}
# Each test of these files starts servers of its own: any worker may take it.
APART = {"sandbox/host/test_host_life.py", "test_bench.py", "test_killed_host.py"}
# Seconds on an idle machine, of the groups that take the most; of a file in APART, those of one test. Only their order
# matters. All others follow. Files are named by their path under tests/.
SECONDS = {
    "cli": 85,
    "page": 60,
    "handlers": 40,
    "connectors/acme/test_peers.py": 20,
    "test_simulation.py": 18,
    "shared": 16,
    "aws_pca": 16,
    "watch/test_nights.py": 14,
    "sandbox/test_demo.py": 12,
    "connectors/acme/test_account_key.py": 12,
    "test_killed_host.py": 11,
    "operations/test_crashes.py": 11,
    "connectors/acme/test_order_failures.py": 11,
    "tools/test_package.py": 11,
    "test_acme_soak.py": 10,
    "renewal/test_scale.py": 10,
    "test_bench.py": 9,
    "renewal/test_renewal_windows.py": 9,
    "sandbox/test_up.py": 9,
    "connectors/test_vault_pki.py": 9,
    "infra/test_alerts.py": 9,
    "test_hosts.py": 8,
    "operations/test_fallback.py": 8,
    "renewal/test_replacement_run.py": 8,
    "sandbox/vault/test_state.py": 8,
    "operations/test_signing.py": 8,
    "connectors/acme/test_connector.py": 8,
    "infra/test_policy.py": 8,
    "renewal/test_endpoints.py": 8,
    "connectors/test_est.py": 8,
    "renewal/test_sweep.py": 7,
    "test_rules.py": 7,
    "operations/test_throttling.py": 7,
    "test_dev.py": 7,
    "test_acceptance.py": 7,
    "watch/test_doctor.py": 7,
    "operations/test_rate.py": 6,
    "renewal/test_sweep_failures.py": 6,
    "operations/test_concurrency.py": 6,
    "test_distribution.py": 6,
    "sandbox/host/test_host.py": 6,
    "connectors/private_ca/test_bootstrap.py": 6,
    "pki/test_corpora.py": 5,
    "connectors/acme/test_openbao.py": 5,
    "connectors/acme/test_order.py": 5,
    "connectors/private_ca/test_connector.py": 5,
    "renewal/test_renew.py": 5,
    "sandbox/test_azurite.py": 5,
    "test_signed_in.py": 4,
    "operations/test_fallback_crashes.py": 4,
    "test_architecture.py": 3,
    "sandbox/vault/test_fuzz.py": 3,
    "sandbox/host/test_host_life.py": 1,
}
LONG = 10


def group_of(node_id: str) -> str:
    """The name of the group that a test belongs to: one of TOGETHER, its file's path, or its own node ID."""
    for pattern, name in TOGETHER.items():
        if re.search(pattern, node_id):
            return name
    return node_id if _file(node_id) in APART else node_id.partition("::")[0]


def seconds(group: str) -> int:
    """How long a group takes, roughly: 0 for the short ones."""
    return SECONDS.get(_file(group), 0)


def _file(node_id: str) -> str:
    """The path under tests/."""
    return node_id.partition("::")[0].removeprefix("tests/")


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
