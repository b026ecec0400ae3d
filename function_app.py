"""The Azure Functions app: reads the settings, declares the functions of handlers/. Nothing else."""

import azure.functions as func

import handlers
from handlers import functions

app = func.FunctionApp(http_auth_level=handlers.start())
functions.register(app)
