"""A stand-in for the Azure Functions host around Microsoft's own worker: `FunctionsHost`, `python -m sandbox.host`."""

from sandbox.host.configuration import Keys
from sandbox.host.server import FunctionsHost

__all__ = ["FunctionsHost", "Keys"]
