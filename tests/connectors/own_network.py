"""Run a server that can only bind every address, out of everybody's reach but ours.

    unshare -n python own_network.py LISTENER_FD PORT COMMAND...

The command runs in a network of its own. What arrives at the listening socket LISTENER_FD, which the parent bound to
the loopback address of the real network, is passed on to PORT in there. Standard library only.
"""

import fcntl
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
LOOK = 0.05  # seconds; a signal that reaches another thread does not wake the main one


def bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP) + b"\0" * 16)


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            end.close()


def relay(listener: socket.socket, port: int) -> None:
    while True:
        outside, _ = listener.accept()
        try:
            inside = socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            outside.close()
            continue
        inside.settimeout(None)
        for end in (outside, inside):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((outside, inside), (inside, outside)):
            threading.Thread(target=pump, args=ends, daemon=True).start()


def main(listener_fd: str, port: str, *command: str) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    bring_loopback_up()
    listener = socket.socket(fileno=int(listener_fd))
    server = subprocess.Popen(command)
    threading.Thread(target=relay, args=(listener, int(port)), daemon=True).start()
    try:
        while server.poll() is None:
            time.sleep(LOOK)
        return server.returncode
    finally:
        server.kill()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
