"""`python -m sandbox.host --app DIRECTORY --port PORT …`: the host until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from sandbox.host.configuration import Keys
from sandbox.host.server import Options, serve
from sandbox.host.worker import IndexingError
from sandbox.ports import listen
from sandbox.processes import end_process


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clock", type=Path)
    parser.add_argument("--sign-in", type=Path, help="App Service authentication is on, as this JSON file says")
    for name in ("master", "function", "eventgrid"):
        parser.add_argument(f"--{name}-key", required=True)
    given = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what the app logs, its SDKs too, is hidden by the app only
    clock, sign_in = (path.resolve() if path else None for path in (given.clock, given.sign_in))
    options = Options(Keys(given.master_key, given.function_key, given.eventgrid_key), clock, sign_in)
    try:
        asyncio.run(_run(given.app.resolve(), given.port, options))
    except (IndexingError, ValueError, OSError) as error:
        print(f"the host cannot start: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(app: Path, port: int, options: Options) -> None:
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    with listen(port) as sock:
        await serve(app, sock, options, stop)


if __name__ == "__main__":
    end_process(main())
