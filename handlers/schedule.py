"""Timers: advance the operations that are due, and renew the certificates that are due."""

import azure.functions as func

from certrelay.log import logger
from certrelay.watch import timers
from handlers import services

log = logger("schedule")


def poll_operations(timer: func.TimerRequest) -> None:
    """Advance the operations that are due, then the replacements."""
    due = timers.poll(services())
    if due:
        log.info("%d operations were due", due)


def sweep_certificates(timer: func.TimerRequest) -> None:
    """Start the renewals that are due."""
    swept = timers.sweep(services())
    log.info(
        "swept %d certificates: %d renewals started, %d refused",
        swept.looked_at,
        len(swept.started),
        len(swept.refused),
    )
