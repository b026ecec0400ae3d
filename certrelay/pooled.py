"""The transport of the Azure SDKs' clients, with as many kept connections as the app has worker threads."""

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

# PYTHON_THREADPOOL_THREAD_COUNT is 32. The SDKs keep ten; the other threads then open a connection for each request.
CONNECTIONS = 40


def transport(connect_seconds: float, read_seconds: float) -> RequestsTransport:
    """A new transport. A client that is given one ignores its own timeouts, so they are set here."""
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=CONNECTIONS))
    session.mount("http://", HTTPAdapter(pool_maxsize=CONNECTIONS))
    return RequestsTransport(session=session, connection_timeout=connect_seconds, read_timeout=read_seconds)
