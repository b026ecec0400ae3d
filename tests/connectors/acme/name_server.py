"""A name server of the tests' own, over UDP."""

import socket
import threading
from typing import Self

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """Answers TXT at NAME with `values`, with `rcode`, or not at all."""

    def __init__(self, *values: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, silent: bool = False) -> None:
        self.values, self.rcode, self.silent = values, rcode, silent
        self.queries: list[dns.message.Message] = []

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                wire, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(wire)
            self.queries.append(query)
            if self.silent:
                continue
            answer = dns.message.make_response(query)
            answer.set_rcode(self.rcode)
            if self.values and query.question[0].rdtype == dns.rdatatype.TXT:
                answer.answer = [dns.rrset.from_text_list(query.question[0].name, 60, "IN", "TXT", self.values)]
            self._socket.sendto(answer.to_wire(), peer)
