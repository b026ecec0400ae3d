"""Other ACME servers from PyPI, in environments of their own: acme2certifier and django-ca.

Both run unchanged; only the resolver of their process is told the port of the tests' DNS.
"""

import contextlib
import fcntl
import sqlite3
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.azurite import cache_directory
from sandbox.ports import free_ports
from tests.connectors.acme.pebble import Program, listens
from tests.connectors.debian import CannotFetch

RESOLVER = """
import dns.resolver

class OnePort(dns.resolver.Resolver):
    def __init__(self, *arguments, **options):
        super().__init__(configure=False)
        self.port = {dns_port}
        self.nameservers = ["127.0.0.1"]

dns.resolver.Resolver = OnePort
dns.resolver.default_resolver = OnePort()
"""

SERVE = """
import socketserver
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # without looking up the machine's name
        self.server_name, self.server_port = self.server_address[:2]
        self.setup_environ()

WSGIRequestHandler.disable_nagle_algorithm = True
make_server("127.0.0.1", {port}, application, Server, WSGIRequestHandler).serve_forever()
"""


def interpreter(requirement: str) -> Path:
    """The Python of an environment that holds `requirement` (`name==version`): made once, in the checkout's .cache.

    Raises CannotFetch where PyPI, or a wheel for this Python, cannot be had."""
    home = cache_directory() / requirement.replace("==", "-")
    cache_directory().mkdir(parents=True, exist_ok=True)
    with (cache_directory() / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            _install(requirement, home)
    return home / "bin" / "python"


def _install(requirement: str, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{home.name}-") as scratch:
        made = Path(scratch) / "made"
        venv.create(made, symlinks=True)
        options = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-compile"]
        pip = [sys.executable, "-m", "pip", "--python", str(made / "bin" / "python"), "install", *options, requirement]
        done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            raise CannotFetch(f"{requirement}: {done.stderr.strip()[-300:]}")
        made.rename(home)


class SlowProgram(Program):
    seconds = 600.0  # Django makes a database first


class Peer:
    """One such server in `folder`. Subclasses write their settings and say how it is started."""

    requirement, directory_path = "", ""

    def __init__(self, folder: Path, dns_port: int) -> None:
        [self.port] = free_ports(1)
        self.folder, self._dns_port = folder, dns_port
        self._python = interpreter(self.requirement)
        self._program = SlowProgram([self._python, folder / "serve.py"], self._is_ready, folder / "server.log")

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def directory(self) -> str:
        return self.origin + self.directory_path

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(
            "serve.py", RESOLVER.format(dns_port=self._dns_port) + self.program() + SERVE.format(port=self.port)
        )
        self._program.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def _is_ready(self) -> bool:
        if not listens(self.port):
            return False
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.directory, timeout=30).ok

    def program(self) -> str:
        """Write the settings, and return the Python that makes the WSGI `application`."""
        raise NotImplementedError

    def root(self) -> x509.Certificate:
        raise NotImplementedError

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        raise NotImplementedError


class Acme2Certifier(Peer):
    """Its openssl handler with a CA of the tests' own; it offers dns-persist-01 in the form of draft -01."""

    requirement, directory_path = "acme2certifier==0.46.3", "/directory"
    issuer = "ca.contoso.example"

    def program(self) -> str:
        self._make_ca()
        (self.folder / "certificates").mkdir()
        settings = f"""
            [DEFAULT]
            debug: False
            [CAhandler]
            handler_module: acme2certifier.cahandlers.openssl_ca_handler
            issuing_ca_key: {self.folder}/ca.key
            issuing_ca_cert: {self.folder}/ca.pem
            issuing_ca_crl: {self.folder}/ca.crl
            ca_cert_chain_list: ["{self.folder}/ca.pem"]
            cert_save_path: {self.folder}/certificates
            cert_validity_days: 90
            [Order]
            allowed_domainlist: ["*.example.com", "example.com"]
            [DBhandler]
            handler: wsgi
            dbfile: {self.folder}/acme.db
            [Challenge]
            dns_persist_01_support: True
            dns_persist_allow_policy_wildcard: True
            [Directory]
            caaidentities: ["{self.issuer}"]
            """
        self._write("acme.cfg", "\n".join(line.strip() for line in settings.splitlines()))
        return (
            "import os\n"
            f"os.environ['ACME_SRV_CONFIGFILE'] = {str(self.folder / 'acme.cfg')!r}\n"
            "from acme2certifier.share.acme2certifier_wsgi import application\n"
        )

    def root(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "ca.pem").read_bytes())

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        crl = x509.load_pem_x509_crl((self.folder / "ca.crl").read_bytes())
        return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None

    def _make_ca(self) -> None:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme2certifier test root")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        builder = builder.not_valid_after(now + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        root = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
        crl = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(now)
        signed = crl.next_update(now + timedelta(days=365)).sign(key, hashes.SHA256())
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (self.folder / "ca.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        (self.folder / "ca.pem").write_bytes(root.public_bytes(pem))
        (self.folder / "ca.crl").write_bytes(signed.public_bytes(pem))


class DjangoCa(Peer):
    """A Django project with nothing else in it. `finalize` stands only in its answers to newOrder."""

    requirement, directory_path = "django-ca==3.2.0", "/django_ca/acme/directory/"

    def program(self) -> str:
        self._write(
            "urls.py",
            "from django.urls import include, path\nurlpatterns = [path('django_ca/', include('django_ca.urls'))]\n",
        )
        return f"""
import pathlib
import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

settings.configure(
    SECRET_KEY="for tests only", ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF="urls", USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_ca"],
    DATABASES={{"default": {{
        "ENGINE": "django.db.backends.sqlite3", "NAME": "{self.folder}/db.sqlite3",
        "OPTIONS": {{
            "timeout": 30, "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF",  # it need not outlive a crash
        }},
    }}}},
    MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "django_ca")),  # the tables as they are now, at once
    STORAGES={{
        "default": {{"BACKEND": "django.core.files.storage.FileSystemStorage"}},
        "staticfiles": {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
        "django-ca": {{
            "BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {{"location": "{self.folder}/keys"}},
        }},
    }},
    CA_DEFAULT_HOSTNAME="127.0.0.1:{self.port}", CA_USE_CELERY=False,
)
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
options = {{"key_type": "EC", "acme_enabled": True, "acme_requires_contact": False}}
call_command("init_ca", "Root", "CN=django-ca test root", **options)
from django_ca.models import CertificateAuthority
pathlib.Path("{self.folder}/root.pem").write_text(CertificateAuthority.objects.get().pub.pem)
application = get_wsgi_application()
"""

    def root(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "root.pem").read_bytes())

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        with contextlib.closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            query = "SELECT revoked FROM django_ca_certificate WHERE serial = ?"
            [(revoked,)] = database.execute(query, (f"{certificate.serial_number:X}",))
        return bool(revoked)
