"""Run by a bare Python, which has nothing but its standard library: calls every function of an unpacked package.

python -I -S packaged_app.py WORKER.PY APP      prints one JSON object: what became of each function
"""

import asyncio
import importlib.util
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

NOW = "2026-11-23T08:00:00+00:00"
QUEUE = {
    "Id": "i1", "PopReceipt": "p", "DequeueCount": 1,
    "InsertionTime": NOW, "ExpirationTime": NOW, "NextVisibleTime": NOW,
}  # fmt: skip
TIMER = {
    "IsPastDue": False,
    "Schedule": {"AdjustForDST": True},
    "ScheduleStatus": {"Last": NOW, "Next": NOW, "LastUpdated": NOW},
}
EVENT = {
    "id": "e", "subject": "s", "eventType": "Microsoft.KeyVault.CertificateNearExpiry", "eventTime": NOW,
    "data": {"Id": "https://contoso.vault.azure.net/certificates/web/1"}, "dataVersion": "1", "topic": "t",
}  # fmt: skip
MESSAGES = {
    "notifications": {"v": 1, "target": "gone", "event": {}},
    "signing": {"v": 1, "vault": "main", "name": "packaged", "operation": "none"},
}


def load_worker(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("worker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["worker"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module.Worker()


async def outcome(worker: Any, function: Any) -> dict[str, Any]:
    value, metadata = function_input(worker, function)
    result = await worker.invoke(function, value, metadata)
    answer = result.returned if isinstance(result.returned, dict) else {}
    body = answer.get("body", b"").decode(errors="replace")
    return {"ok": result.ok, "error": result.error, "status": answer.get("status"), "body": body[:2000]}


def function_input(worker: Any, function: Any) -> tuple[Any, dict[str, Any]]:
    if function.kind == "httptrigger":
        route = {
            name: "main" if name == "vault" else "packaged" for name in re.findall(r"{(\w+)", function.trigger["route"])
        }
        method = function.trigger["methods"][0].upper()
        headers = {"content-type": "application/json"}
        return worker.http(method, "http://localhost/api", headers, route, {}, b"{}" if method != "GET" else b""), {}
    if function.kind == "queuetrigger":
        message = MESSAGES[str(function.trigger["queueName"]).removesuffix("-poison")]
        return worker.value(json.dumps(message)), QUEUE
    return worker.value(TIMER if function.kind == "timertrigger" else EVENT), {}


async def main(worker_file: str, app: Path) -> None:
    sys.path.insert(0, str(app / ".python_packages/lib/site-packages"))
    logging.getLogger().setLevel(logging.INFO)  # as the worker's process does
    worker = load_worker(worker_file)
    await worker.load(app)
    outcomes = {function.name: await outcome(worker, function) for function in worker.functions}
    monitored = sys.modules["azure_functions_runtime.otel"].otel_manager.get_azure_monitor_available()
    sys.modules["opentelemetry.trace"].get_tracer_provider().force_flush()
    worker.stop()
    origins = {name: str(module.__file__) for name, module in sys.modules.items() if getattr(module, "__file__", None)}
    sys.stdout.write(json.dumps({"functions": outcomes, "origins": origins, "monitored": monitored}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
