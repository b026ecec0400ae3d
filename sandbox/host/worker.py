"""Microsoft's own worker library, driven in this process.

`azure-functions-runtime` indexes and invokes the functions in Azure on Python 3.13; there a proxy speaks gRPC to the
host and hands the library its message classes. Here the message classes are plain Python objects, and the entry is the
one without protobuf that Microsoft's proxy for newer versions uses (`native_invocation`).
"""

import json
import os
import sys
import types
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BINDINGS = ("http", "httptrigger", "queuetrigger", "timertrigger", "eventgridtrigger")


class IndexingError(Exception):
    """The app's functions cannot be found out; the text is the worker's own."""


def _message(name: str, **constants: int) -> type:
    """A stand-in for a protobuf message class: keywords in, attributes out, enumerations as class attributes."""

    def initialise(self: Any, **values: Any) -> None:
        self.__dict__.update(values)

    return type(name, (), {"__init__": initialise, "__getattr__": lambda self, name: None, **constants})


class _Enumeration(types.SimpleNamespace):
    def Value(self, name: str) -> Any:  # noqa: N802 - protobuf's name
        return getattr(self, name)


def _protos() -> types.SimpleNamespace:
    directions = {"in": 0, "out": 1, "inout": 2}
    kinds = {"undefined": 0, "string": 1, "binary": 2, "stream": 3}
    binding_info = _message("BindingInfo", **directions, **kinds)
    binding_info.Direction = _Enumeration(**directions)  # type: ignore[attr-defined]
    binding_info.DataType = _Enumeration(**kinds)  # type: ignore[attr-defined]
    plain = ("RpcException", "WorkerMetadata", "RpcFunctionMetadata", "WorkerInitResponse", "FunctionLoadResponse")
    return types.SimpleNamespace(
        **{name: _message(name) for name in (*plain, "FunctionMetadataResponse")},
        BindingInfo=binding_info,
        StatusResult=_message("StatusResult", Failure=0, Success=1, Cancelled=2),
        RpcRetryOptions=_message("RpcRetryOptions", exponential_backoff=0, fixed_delay=1),
    )


@dataclass(frozen=True)
class Function:
    """One function of the app: its name and its trigger's binding, `%SETTING%` resolved."""

    name: str
    identifier: str
    trigger: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.trigger["type"]).lower()


@dataclass(frozen=True)
class Result:
    """What an invocation gave: its return (an HTTP response as a dict), or the text of its exception."""

    ok: bool
    returned: Any = None
    error: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)


class Worker:
    """The app in `directory`. Raises IndexingError with the worker's own words."""

    def __init__(self) -> None:
        self.functions: list[Function] = []

    async def load(self, directory: Path) -> None:
        # In Azure the app's folder comes last, and the folder that the worker was started in not at all.
        sys.path[:] = [path for path in sys.path if path not in ("", str(Path.cwd()))] + [str(directory)]
        os.chdir(directory)
        import azure_functions_runtime as runtime
        from azure_functions_runtime import native_invocation
        from azure_functions_runtime.bindings.datumdef import Datum

        self._runtime, self._native, self._datum = runtime, native_invocation, Datum
        runtime.start_threadpool_executor()
        ask = types.SimpleNamespace
        init = ask(worker_init_request=ask(capabilities={}, function_app_directory=str(directory)))
        answer = await runtime.worker_init_request(
            ask(request=init, properties={"protos": _protos(), "host": "127.0.0.1"})
        )
        if answer.result.status != 1:
            raise IndexingError(str(answer.result.exception.message))
        found = await runtime.functions_metadata_request(ask(request=None))
        if found.result.status != 1:
            raise IndexingError(str(found.result.exception.message))
        self.functions = [_function(one) for one in found.function_metadata_results or ()]

    def stop(self) -> None:
        self._runtime.stop_threadpool_executor()

    def http(self, method: str, url: str, headers: Any, route: Any, query: Any, body: bytes) -> Any:
        """An HTTP trigger's value."""

        def texts(values: dict[str, str]) -> dict[str, Any]:
            return {name: self._datum(value, "string") for name, value in values.items()}

        parts = {"headers": texts(headers), "params": texts(route), "query": texts(query)}
        parts |= {"method": self._datum(method, "string"), "url": self._datum(url, "string")}
        return self._datum(parts | {"body": self._datum(body, "bytes")}, "http")

    def value(self, value: Any) -> Any:
        """Any other trigger's value: text, bytes, or what JSON can hold."""
        if isinstance(value, (str, bytes)):
            return self._datum(value, "string" if isinstance(value, str) else "bytes")
        return self._datum(json.dumps(value), "json")

    async def invoke(self, function: Function, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        trace = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"
        inputs = [(function.trigger["name"], value)]
        given = {name: self.value(one) for name, one in (metadata or {}).items()}
        ok, returned, outputs, error, _ = await self._native.invocation_request_native(
            str(uuid.uuid4()), function.identifier, inputs, given, trace, "", 0, 0
        )
        if returned is not None:
            returned = _http_response(returned.value) if returned.type == "http" else returned.value
        return Result(ok, returned, error or "", {name: one.value for name, one in outputs or ()})


def _function(found: Any) -> Function:
    bindings = [json.loads(binding) for binding in found.raw_bindings]
    for kind in (str(one["type"]) for one in bindings):
        if kind.lower() not in BINDINGS:
            raise IndexingError(f"{found.name}: this host has no binding of the type {kind}")
    trigger = next(one for one in bindings if str(one["type"]).lower().endswith("trigger"))
    return Function(found.name, found.function_id, {key: _resolved(value) for key, value in trigger.items()})


def _resolved(value: Any) -> Any:
    """`%SETTING%` is the application setting SETTING (binding expressions of the Functions host)."""
    if isinstance(value, str) and len(value) > 2 and value[0] == value[-1] == "%":
        if value[1:-1] not in os.environ:
            raise IndexingError(f"the application setting {value[1:-1]} is missing")
        return os.environ[value[1:-1]]
    return value


def _http_response(value: dict[str, Any]) -> dict[str, Any]:
    headers = {name: str(one.value) for name, one in value["headers"].items()}
    body = value["body"].value if value["body"] else b""
    body = body.encode() if isinstance(body, str) else body or b""
    return {"status": int(value["status_code"].value), "headers": headers, "body": body}
