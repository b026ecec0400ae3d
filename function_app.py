"""The Azure Functions app: reads the settings, registers the blueprints of handlers/. Nothing else."""

import azure.functions as func

import handlers
from handlers import (
    administration,
    certificates,
    changing,
    events,
    fleet,
    notifying,
    reading,
    schedule,
    service,
    signing,
)

handlers.start()

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
# Routes are tried in this order: `certificates/issuers` before `certificates/{name}`.
for module in (service, administration, certificates, changing, reading, fleet, signing, schedule, events, notifying):
    app.register_functions(module.blueprint)
