"""A stand-in for the Azure Functions host around Microsoft's own worker: `python -m sandbox.host`."""
