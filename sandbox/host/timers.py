"""The timer trigger: one host of many fires, never overlapping itself; what was missed is made good once.

Behaviour after Azure/azure-webjobs-sdk-extensions: TimerListener.cs, StorageScheduleMonitor.cs; the lease after
SingletonManager.cs of Azure/azure-webjobs-sdk (60 s, tried again every 60 s).
"""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobLeaseClient, BlobServiceClient, LinearRetry

from sandbox.host.invocations import Invocations
from sandbox.host.ncrontab import Schedule
from sandbox.host.worker import Function

CONTAINER = "azure-webjobs-hosts"
LONGEST_WAIT = 0.25  # the clock may be moved meanwhile

log = logging.getLogger("sandbox.host")


class TimerListener:
    """Listens for one function until it is canceled. Raises ValueError for a schedule that is none."""

    def __init__(
        self, function: Function, connection: str, invocations: Invocations, host_id: str, lease_seconds: int = 60
    ) -> None:
        self._function, self._invocations, self._lease_seconds = function, invocations, lease_seconds
        self._schedule = Schedule(str(function.trigger["schedule"]))
        blobs = BlobServiceClient.from_connection_string(connection, retry_policy=LinearRetry(backoff=1, retry_total=2))
        self._container = blobs.get_container_client(CONTAINER)
        self._status = self._container.get_blob_client(f"timers/{host_id}/Host.Functions.{function.name}/status")
        self._lock = self._container.get_blob_client(f"locks/{host_id}/Host.Functions.{function.name}.Listener")

    async def run(self) -> None:
        lease = await self._leased()
        renewal = asyncio.create_task(self._renew(lease))
        try:
            await self._fire_for_ever()
        finally:
            renewal.cancel()
            await asyncio.to_thread(_release, lease)

    async def _fire_for_ever(self) -> None:
        known = await asyncio.to_thread(_read, self._status) if self._schedule.is_monitored else {}
        past_due, due = self._first(known)
        if known.get("Schedule") != self._schedule.text:
            await self._keep(self._written(None, due))  # or a restart before the first run would miss it
        log.info("timer %s: runs next at %s", self._function.name, due)
        if self._function.trigger.get("runOnStartup") and not past_due:
            await self._fire(_now(), is_past_due=False)
        while due is not None:
            while (left := (due - _now()).total_seconds()) > 0:
                await asyncio.sleep(min(left, LONGEST_WAIT))
            late = (_now() - due).total_seconds() > 1
            await self._fire(due, is_past_due=past_due or late)
            past_due, due = False, self._schedule.next(_now())
        log.info("timer %s: its schedule never comes again", self._function.name)
        await asyncio.Event().wait()

    def _first(self, status: dict[str, Any]) -> tuple[bool, datetime | None]:
        """Whether a run was missed, and when the first is. A changed schedule misses nothing."""
        following = self._schedule.next(_now())
        if status.get("Schedule") != self._schedule.text or not status.get("Next"):
            return False, following
        due = datetime.fromisoformat(status["Next"])
        return (True, _now()) if due < _now() else (False, due)

    async def _fire(self, due: datetime, is_past_due: bool) -> None:
        status = self._written(due, self._schedule.next(max(_now(), due)))
        given = {"IsPastDue": is_past_due, "Schedule": {"AdjustForDST": True}}
        given["ScheduleStatus"] = status if self._schedule.is_monitored else None
        await self._invocations.invoke(self._function, self._invocations.worker.value(given))
        await self._keep(status)

    def _written(self, last: datetime | None, following: datetime | None) -> dict[str, Any]:
        return {
            "Last": last.isoformat() if last else None,
            "Next": following.isoformat() if following else None,
            "LastUpdated": _now().isoformat(),
            "Schedule": self._schedule.text,
        }

    async def _keep(self, status: dict[str, Any]) -> None:
        if not self._schedule.is_monitored:
            return
        try:
            await asyncio.to_thread(self._status.upload_blob, json.dumps(status), overwrite=True)
        except AzureError as error:
            log.warning("timer %s: its status was not kept (%s)", self._function.name, type(error).__name__)

    async def _leased(self) -> BlobLeaseClient:
        while True:
            try:
                return await asyncio.to_thread(self._acquire)
            except AzureError:
                await asyncio.sleep(self._lease_seconds if self._lease_seconds < 60 else 60)

    def _acquire(self) -> BlobLeaseClient:
        for make in (self._container.create_container, lambda: self._lock.upload_blob(b"")):
            try:
                make()
            except (ResourceExistsError, HttpResponseError):
                continue
        return self._lock.acquire_lease(self._lease_seconds)

    async def _renew(self, lease: BlobLeaseClient) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 2)
            try:
                await asyncio.to_thread(lease.renew)
            except AzureError as error:
                log.warning("timer %s: the lease was not renewed (%s)", self._function.name, type(error).__name__)


def _now() -> datetime:
    return datetime.now(UTC)


def _read(blob: BlobClient) -> dict[str, Any]:
    try:
        status: dict[str, Any] = json.loads(blob.download_blob().readall())
    except ResourceNotFoundError:
        return {}
    except (AzureError, ValueError) as error:
        log.warning("a timer's status cannot be read (%s): nothing counts as missed", type(error).__name__)
        return {}
    return status


def _release(lease: BlobLeaseClient) -> None:
    try:
        lease.release()
    except AzureError:
        log.info("a timer's lease runs out by itself")
