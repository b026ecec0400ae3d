"""The Azure Functions app: reads the settings, registers the blueprints of handlers/. Nothing else."""

import azure.functions as func

import handlers
from handlers import certificates, events, notifying, schedule, signing

handlers.start()

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for module in (certificates, signing, schedule, events, notifying):
    app.register_functions(module.blueprint)
