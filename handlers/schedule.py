"""Timers: advance the open operations that are due; find the certificates that have to be renewed."""

import azure.functions as func

from certrelay.log import logger
from certrelay.renewal import sweep
from handlers import services

blueprint = func.Blueprint()
log = logger("schedule")


@blueprint.timer_trigger(arg_name="timer", schedule="%CERTRELAY_POLL_SCHEDULE%")
def poll_operations(timer: func.TimerRequest) -> None:
    advanced = sweep.advance_due(services())
    if advanced:
        log.info("looked at %d open operations", advanced)


@blueprint.timer_trigger(arg_name="timer", schedule="%CERTRELAY_SWEEP_SCHEDULE%")
def sweep_certificates(timer: func.TimerRequest) -> None:
    swept = sweep.sweep(services())
    log.info(
        "swept %d certificates: %d renewals started, %d refused",
        swept.looked_at,
        len(swept.started),
        len(swept.refused),
    )
