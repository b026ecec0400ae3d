"""The Azure Functions app: reads the settings, registers the blueprints of handlers/. Nothing else."""

import azure.functions as func

import handlers
from handlers import (
    actions,
    certificates,
    events,
    fleet,
    issuers,
    notifications,
    page,
    queries,
    queue,
    schedule,
    service,
    status,
)

app = func.FunctionApp(http_auth_level=handlers.start())
modules = (
    service, issuers, certificates, actions, queries, fleet, status, queue, schedule, events, notifications, page,
)  # fmt: skip
for module in modules:
    app.register_functions(module.blueprint)
