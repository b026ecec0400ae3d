"""Cisco's libest `estserver` with a CA made for the test. It binds every address, so it gets a network of its own."""

import functools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from tests.connectors.debian import CannotFetch, unpacked
from tests.connectors.signing_requests import PrivateKey, private_key

PACKAGES = ("libc6", "libssl3t64", "libest3", "libest-utils", "zlib1g", "libzstd1")
USERNAME, PASSWORD = "estuser", "estpwd"  # compiled into estserver
PORT_INSIDE = 18085

CONFIGURATION = """
[ca]
default_ca = authority
[authority]
database = {folder}/index.txt
serial = {folder}/serial
certificate = {folder}/ca.pem
private_key = {folder}/ca-key.pem
default_days = 30
default_md = sha256
policy = policy
x509_extensions = leaf
copy_extensions = copyall
email_in_dn = no
unique_subject = no
[policy]
commonName = optional
[leaf]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


CA_KEY_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class EstServer:
    url: str
    root: x509.Certificate
    root_pem: str
    client_certificate: str


def make_certificate(
    name: str, key: PrivateKey, issuer: x509.Certificate | None, issuer_key: PrivateKey, is_ca: bool
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=60))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if is_ca:
        builder = builder.add_extension(CA_KEY_USAGE, critical=True)
    else:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: PrivateKey) -> str:
    encoding, layout = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, layout, serialization.NoEncryption()).decode()


@functools.cache
def why_not() -> str | None:
    """Why estserver cannot run on this machine; None if it can. Fetches it."""
    if not shutil.which("unshare"):
        return "estserver needs a network namespace, and this machine has no `unshare`"
    if subprocess.run([*_unshare(), "true"], capture_output=True).returncode:
        return "estserver needs a network namespace, and this machine does not permit one"
    try:
        unpacked("libest", PACKAGES)
    except CannotFetch as error:
        return f"estserver cannot be fetched: {error}"
    return None


def _unshare() -> list[str]:
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]


@contextmanager
def est_server(folder: Path, *options: str) -> Iterator[EstServer]:
    """A running `estserver` with these command line options; its files are in `folder`."""
    ca_key, server_key, client_key = (
        private_key("rsa-2048", "CA"),
        private_key("rsa-2048", "server"),
        private_key("ec-256", "client"),
    )
    root = make_certificate("EST test root", ca_key, None, ca_key, is_ca=True)
    server = make_certificate("estserver", server_key, root, ca_key, is_ca=False)
    client = make_certificate("a client", client_key, root, ca_key, is_ca=False)
    files = {
        "ca.pem": pem(root),
        "ca-key.pem": key_pem(ca_key),
        "server.pem": pem(server) + key_pem(server_key),
        "openssl.cnf": CONFIGURATION.format(folder=folder),
        "index.txt": "",
        "index.txt.attr": "",
        "serial": "1000\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as listener, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            _command(folder, listener.fileno(), options),
            env={
                "EST_TRUSTED_CERTS": str(folder / "ca.pem"),
                "EST_CACERTS_RESP": str(folder / "ca.pem"),
                "EST_OPENSSL_CACONFIG": str(folder / "openssl.cnf"),
            },
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
        try:
            _wait_until_it_answers(process, port, folder)
            yield EstServer(f"https://127.0.0.1:{port}", root, pem(root), pem(client) + key_pem(client_key))
        finally:
            process.terminate()
            process.wait(60)


def _command(folder: Path, listener: int, options: tuple[str, ...]) -> list[str]:
    programs = unpacked("libest", PACKAGES)
    libraries = programs / "usr/lib/x86_64-linux-gnu"
    loader = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
    relay = [sys.executable, str(Path(__file__).parent / "own_network.py"), str(listener), str(PORT_INSIDE)]
    server = str(folder / "server.pem")
    return [
        *_unshare(),
        *relay,
        *loader,
        str(programs / "usr/bin/estserver"),
        *("-c", server, "-k", server, "-r", "estrealm", "-v", "-p", str(PORT_INSIDE)),
        *options,
    ]


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    tls = ssl.create_default_context(cadata=(folder / "ca.pem").read_text())
    refusal, end = OSError(), time.monotonic() + 300
    while time.monotonic() < end:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), 5) as plain,
                tls.wrap_socket(plain, server_hostname="localhost"),
            ):
                return
        except OSError as error:
            refusal = error
            assert process.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.05)
    raise AssertionError("estserver does not answer") from refusal
