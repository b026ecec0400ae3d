"""The floor of `bench acme`: PyPI's `acme`, which certbot is made of, in 24 threads, with nothing around it.

    python -m bench._bare_acme DIRECTORY ROOTS PREFIX COUNT

Keys are made in memory and nothing is kept. Prints the seconds and the CPU from the first
order to the last certificate."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from acme.challenges import DNS01
from acme.client import ClientNetwork, ClientV2
from acme.messages import NewRegistration
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from josepy.jwa import ES256
from josepy.jwk import JWKEC

THREADS = 24


class Clients:
    """One client for each thread, all with one account: a client's connections are its own."""

    def __init__(self, directory: str, roots: str) -> None:
        self.key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        first = self._made(directory, roots)
        account = first.new_account(NewRegistration.from_data(email="bench@example.com", terms_of_service_agreed=True))
        self._idle: SimpleQueue[ClientV2] = SimpleQueue()
        for client in (first, *(self._made(directory, roots) for _ in range(THREADS - 1))):
            client.net.account = account
            self._idle.put(client)

    def _made(self, directory: str, roots: str) -> ClientV2:
        net = ClientNetwork(self.key, alg=ES256)
        net.session.trust_env = False
        net.verify_ssl = roots  # type: ignore[assignment]  # it says `verify` with each request, over its session's
        return ClientV2(ClientV2.get_directory(directory, net), net)

    def issue(self, name: str) -> str:
        """The chain (PEM) for a name, whose challenges are answered without a record."""
        client = self._idle.get()
        try:
            order = client.new_order(csr(name))
            for authorization in order.authorizations:
                found = next(one for one in authorization.body.challenges if isinstance(one.chall, DNS01))
                client.answer_challenge(found, found.response(self.key))
            return str(client.poll_and_finalize(order).fullchain_pem)
        finally:
            self._idle.put(client)


def csr(name: str) -> bytes:
    """A request (PEM) for one DNS name, with a key of its own."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


def main() -> None:
    directory, roots, prefix, count = sys.argv[1:]
    clients = Clients(directory, roots)
    begun, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        chains = list(pool.map(clients.issue, (f"{prefix}-{number}.example.com" for number in range(int(count)))))
    seconds = time.perf_counter() - begun, time.process_time() - cpu
    assert all("BEGIN CERTIFICATE" in chain for chain in chains)
    json.dump(seconds, sys.stdout)


if __name__ == "__main__":
    main()
