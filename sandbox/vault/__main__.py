"""`python3 dev.py vault --directory D`: run the sandbox vault until SIGTERM or SIGINT."""

import argparse
import signal
import sys
import time
from pathlib import Path

from sandbox.clock import Clock
from sandbox.directory import only_one_in
from sandbox.processes import ProcessError, end_process
from sandbox.vault.server import VaultServer

POLL = 0.1  # seconds between checks for a signal: one that reaches another thread does not wake the main thread


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py vault", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="for the root, the identity and vault.json")
    parser.add_argument("--port", type=int, default=0, help="port of the vault (default: any free port)")
    parser.add_argument("--control-port", type=int, default=0, help="port of the identity endpoint and the admin API")
    parser.add_argument("--clock", type=Path, help="file with the clock offset in seconds, which programs may share")
    parser.add_argument("--data", type=Path, help="SQLite file that keeps the state across restarts")
    parser.add_argument("--webhook", help="URL on this machine that receives the events")
    arguments = parser.parse_args()
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        with only_one_in(arguments.directory), _server(arguments) as server:
            print(f"{server.url} (admin: {server.admin_url})", flush=True)
            while not signals:
                time.sleep(POLL)
    except (OSError, ProcessError) as error:
        sys.exit(f"the sandbox vault cannot run: {error}")


def _server(arguments: argparse.Namespace) -> VaultServer:
    return VaultServer(
        arguments.directory,
        Clock(arguments.clock),
        arguments.data,
        ports=(arguments.port, arguments.control_port),
        webhook=arguments.webhook,
    )


if __name__ == "__main__":
    main()
    end_process(0)
