"""Every function of the app, as Azure has to know it when the app starts; its code is imported when it is first called.

Starting the app imports azure.functions, the settings and this page, and nothing that makes requests or reads
certificates. Its module says the rest of an HTTP function: who may call it, and with what (handlers.routes).
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import azure.functions as func

PREFIX = "api"  # host.json has none, so that the page is at /
STORAGE = "AzureWebJobsStorage"
LIST = "vaults/{vault}/certificates"
PATH = f"{LIST}/{{name}}"
# The host takes an empty route for the function's name. This one matches the root, and nothing else.
ROOT, FILE = "{ignored:maxlength(0)?}", "page/{version}/{file}"
ANYBODY = {"get_health", "web_page", "web_page_file"}  # may call these, even without a key

# By module: the functions, with their methods and paths.
HTTP: dict[str, dict[str, tuple[str, str]]] = {
    "service": {
        "get_me": ("GET", "me"),
        "list_vaults": ("GET", "vaults"),
        "list_authorities": ("GET", "authorities"),
        "roll_over_account_key": ("POST", "authorities/{authority}/account-key/rollover"),
        "get_dns_persist": ("GET", "authorities/{authority}/dns-persist"),
        "get_health": ("GET", "health"),
        "get_readiness": ("GET", "health/ready"),
        "get_openapi": ("GET", "openapi.json"),
    },
    "issuers": {
        "admin_list_issuers": ("GET", f"{LIST}/issuers"),
        "admin_get_issuer": ("GET", f"{LIST}/issuers/{{issuer}}"),
        "admin_set_issuer": ("PUT", f"{LIST}/issuers/{{issuer}}"),
        "admin_update_issuer": ("PATCH", f"{LIST}/issuers/{{issuer}}"),
        "admin_delete_issuer": ("DELETE", f"{LIST}/issuers/{{issuer}}"),
        "admin_get_contacts": ("GET", f"{LIST}/contacts"),
        "admin_set_contacts": ("PUT", f"{LIST}/contacts"),
        "admin_delete_contacts": ("DELETE", f"{LIST}/contacts"),
    },
    "certificates": {
        "create_certificate": ("POST", f"{PATH}/create"),
        "import_certificate": ("POST", f"{PATH}/import"),
        "get_certificate_operation": ("GET", f"{PATH}/pending"),
        "cancel_certificate_operation": ("PATCH", f"{PATH}/pending"),
        "delete_certificate_operation": ("DELETE", f"{PATH}/pending"),
        "get_certificate_signing_request": ("GET", f"{PATH}/pending/csr"),
        "merge_certificate": ("POST", f"{PATH}/pending/merge"),
        "get_operation": ("GET", "operations/{id}"),
    },
    "actions": {
        "update_certificate_policy": ("PATCH", f"{PATH}/policy"),
        "update_certificate": ("PATCH", PATH),
        "delete_certificate": ("DELETE", PATH),
        "recover_certificate": ("POST", "vaults/{vault}/deletedcertificates/{name}/recover"),
        "renew_certificate": ("POST", f"{PATH}/renew"),
        "revoke_certificate": ("POST", f"{PATH}/revoke"),
        "adopt_certificate": ("POST", f"{PATH}/adopt"),
        "release_certificate": ("POST", f"{PATH}/release"),
        "transfer_certificate": ("PUT", f"{PATH}/owner"),
    },
    "queries": {
        "list_certificates": ("GET", LIST),
        "list_deleted_certificates": ("GET", "vaults/{vault}/deletedcertificates"),
        "get_certificate_policy": ("GET", f"{PATH}/policy"),
        "list_certificate_versions": ("GET", f"{PATH}/versions"),
        "get_certificate_history": ("GET", f"{PATH}/history"),
        "get_certificate_version": ("GET", f"{PATH}/{{version:length(32)}}"),
        "get_certificate": ("GET", PATH),
    },
    "fleet": {
        "get_forecast": ("GET", "forecast"),
        "start_replacement": ("POST", "replacements"),
        "list_replacements": ("GET", "replacements"),
        "get_replacement": ("GET", "replacements/{id}"),
        "cancel_replacement": ("DELETE", "replacements/{id}"),
    },
    "status": {
        "list_operations": ("GET", "operations"),
        "get_status": ("GET", "status"),
        "get_doctor": ("GET", "doctor"),
        "list_notification_targets": ("GET", "notifications"),
        "send_test_notification": ("POST", "notifications/{target}/test"),
        "list_poison_messages": ("GET", "poison"),
        "retry_poison_message": ("POST", "poison/{id}/retry"),
        "drop_poison_message": ("DELETE", "poison/{id}"),
    },
}

PAGE = {"web_page": ROOT, "web_page_file": FILE}
# By function: its module, and its queue or its schedule.
QUEUES = {
    "advance_operation": ("queue", "signing"),
    "fail_operation": ("queue", "signing-poison"),
    "deliver_notification": ("notifications", "notifications"),
}
TIMERS = {
    "poll_operations": ("schedule", "%CERTRELAY_POLL_SCHEDULE%"),
    "sweep_certificates": ("schedule", "%CERTRELAY_SWEEP_SCHEDULE%"),
    "publish_revocation_lists": ("notifications", "%CERTRELAY_SWEEP_SCHEDULE%"),
    "daily_digest": ("notifications", "%CERTRELAY_DIGEST_SCHEDULE%"),
}


def register(app: func.FunctionApp) -> None:
    """Declare all functions. Those of HTTP have the app's level, a key or none, unless anybody may call them."""
    for module, functions in HTTP.items():
        for name, (method, path) in functions.items():
            _http(app, module, name, (method,), f"{PREFIX}/{path}")
    for name, path in PAGE.items():
        _http(app, "page", name, ("GET", "HEAD"), path)
    for name, (module, queue) in QUEUES.items():
        app.queue_trigger("msg", queue, STORAGE)(_function(module, name, "msg", func.QueueMessage))
    for name, (module, schedule) in TIMERS.items():
        app.timer_trigger("timer", schedule)(_function(module, name, "timer", func.TimerRequest))
    app.event_grid_trigger("event")(_function("events", "certificate_events", "event", func.EventGridEvent))


def _http(app: func.FunctionApp, module: str, name: str, methods: tuple[str, ...], path: str) -> None:
    level = func.AuthLevel.ANONYMOUS if name in ANYBODY else None
    function = _function(module, name, "req", func.HttpRequest, func.HttpResponse)
    app.route(path, methods=methods, auth_level=level)(function)


def _function(module: str, name: str, argument: str, kind: type, returned: type | None = None) -> Callable[..., Any]:
    """A function with the name, the argument and the types that Azure reads, which calls the one in its module."""

    def function(**bound: Any) -> Any:
        found = importlib.import_module(f"handlers.{module}")
        called = found.blueprint[name] if kind is func.HttpRequest else getattr(found, name)
        return called(bound[argument])

    function.__name__ = function.__qualname__ = name
    function.__annotations__ = {argument: kind, "return": returned}
    only = inspect.Parameter(argument, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
    function.__signature__ = inspect.Signature([only], return_annotation=returned)  # type: ignore[attr-defined]
    return function


def modules() -> list[Any]:
    """The modules of all HTTP functions of the API, imported: handlers.routes.ROUTES then has every route."""
    return [importlib.import_module(f"handlers.{module}") for module in HTTP]
