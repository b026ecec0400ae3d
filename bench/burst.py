"""Renewals that are all due at once, at Key Vault's published limit of 20 new keys in ten seconds; default settings.

    python3 dev.py bench burst [--renewals 400]

On the sandbox's clock: the queue delivers each message up to half a second late. The vault counts as Key Vault does.
"""

import sys
from datetime import timedelta

from bench._fleet import ALIAS, Fleet
from bench._report import Line, arguments, conclude
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.storage.operation import State

KEYS, WINDOW = 20, 10  # https://learn.microsoft.com/azure/key-vault/general/service-limits
LONGEST, MOST_REFUSED = 1.1, 0.05
LATENESS = 0.5


def measure(renewals: int) -> tuple[float, float, int]:
    """Seconds until all were renewed, those that the limit dictates, and how many creations were refused (429)."""
    with Fleet(lateness=LATENESS) as fleet:
        names = fleet.seed(renewals, "due", timedelta(days=300))
        fleet.server.faults.throttle()
        begun = fleet.now()
        for name in names:
            renew.renew_if_due(fleet.services, ALIAS, name, Origin(requested_by="bench", reason="due"))
        fleet.settle()
        took = (fleet.now() - begun).total_seconds()
        ended = [fleet.services.storage.ended(ALIAS, name)[0].state for name in names]
        assert set(ended) == {State.COMPLETED}, ended
        refused = fleet.server.requests.counts()["CreateCertificate"] - renewals
    return took, (-(-renewals // KEYS) - 1) * WINDOW, refused


def main() -> int:
    given = arguments("burst", __doc__, renewals=400)
    took, dictated, refused = measure(given.renewals)
    return conclude("burst", given, [
        Line("until all are renewed", f"{took:.0f} s"),
        Line("what the limit dictates", f"{dictated} s"),
        Line("ratio", f"{took / dictated:.2f} times", took / dictated, LONGEST),
        Line("creations refused (429)", f"{refused} of {given.renewals}", refused / given.renewals, MOST_REFUSED),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
