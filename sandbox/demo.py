"""Shows CertRelay's main job: `python3 dev.py demo` issues, imports, renews and refuses certificates.

Exit code 0 means that everything went as it should, 1 that something did not.
"""

import argparse
import contextlib
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from azure.core.exceptions import AzureError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from rich import box
from rich.table import Table

from sandbox import estate
from sandbox.app_settings import ALIAS, AUTHORITY
from sandbox.observer import App, Seen, Unexpected, VaultObserver, expect, verify_chain
from sandbox.processes import ProcessError, end_process, exit_on_signals
from sandbox.progress import Progress, Step
from sandbox.up import DEFAULT_DIRECTORY, PORTS, Sandbox

NAME, DNS_NAMES = "www-contoso", ["www.contoso.example", "shop.contoso.example"]
TAGS = {"team": "web", "cost-center": "4711"}
VALIDITY_DAYS = 90
NEAR_EXPIRY = "Microsoft.KeyVault.CertificateNearExpiry"
NOTICE = timedelta(days=30)
DENIED_NAME = "www.fabrikam.example"

FAILURES = (Unexpected, ProcessError, AzureError, httpx.HTTPError)

STEPS = {
    "requested": "accepted; nothing is in Key Vault yet",
    "pending": "Key Vault has the key and the CSR",
    "submitted": "the authority has the CSR",
    "issued": "the authority has issued the certificate; it is verified and merged",
    "completed": "merged: the new version is in Key Vault",
}


class Story:
    """The steps of the demo, in order. Each raises Unexpected if something goes wrong."""

    def __init__(self, progress: Progress, settings: Mapping[str, str], app: App, vault: VaultObserver) -> None:
        self._progress, self._settings, self._app, self._vault = progress, settings, app, vault
        self.table = Table("step", "outcome", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for title in ("seconds", "Key Vault calls"):
            self.table.add_column(title, justify="right")

    def run(self) -> None:
        first_operation = self.issue()
        first = self.show()
        self.import_pfx()
        self.renew(first, first_operation)
        self.deny()

    def issue(self) -> str:
        """Issue a certificate from an external authority. Returns the id of the operation."""
        with self._chapter(f"Issue a certificate for {DNS_NAMES[0]}", "merged") as step:
            location = self._app.create(NAME, self._request(DNS_NAMES, TAGS))
            operation = self._watch(step, location)
            expect(operation["status"] == "completed", f"the operation ended as {_ending(operation)}")
            _tell_transitions(step, operation)
        return str(operation["id"])

    def show(self) -> Seen:
        """Show what is in the vault, read with Microsoft's SDK."""
        with self._progress.step("Look into the vault, with Microsoft's SDK") as step:
            seen = self._vault.see(NAME)
            self._check(seen)
            _describe(step, seen)
        return seen

    def import_pfx(self) -> None:
        with self._chapter("Import a PFX", "imported") as step:
            leaf, pfx, password = make_pfx("legacy.contoso.example", self._vault.now())
            answer = self._app.import_pfx("legacy", pfx, password)
            expect(bool(answer["imported"]), "the app answered that it has imported nothing")
            step.detail(f"{answer['subject']}, version {answer['version']}")
        seen = self._vault.see("legacy")
        expect(seen.leaf == leaf and seen.key_matches, "the vault does not have the imported certificate")

    def renew(self, first: Seen, first_operation: str) -> None:
        """Move the clock until the vault reports near expiry and the app renews the certificate."""
        days = NOTICE.days
        with self._chapter(f"Move the clock to {days} days before expiry: renewal", "second version") as step:
            wait = first.leaf.not_valid_after_utc - NOTICE - self._vault.now()
            self._vault.advance_clock(wait.total_seconds() + 1)
            expect(self._vault.raised(NEAR_EXPIRY, NAME), f"the vault has raised no {NEAR_EXPIRY}")
            step.now("the vault has raised CertificateNearExpiry")
            location = self._app.latest(NAME)
            operation = self._watch(step, location, other_than=first_operation)
            expect(operation["status"] == "completed", f"the renewal ended as {_ending(operation)}")
            expect(operation["authority"] == AUTHORITY, f"another authority renewed it: {operation['authority']}")
            step.detail(f"the clock was moved {wait.days} days ahead")
            _tell_transitions(step, operation)
        with self._progress.step("Look into the vault again") as step:
            self._check_renewal(first)
            step.detail("two versions: same names, tags and authority; new key and dates")

    def _check_renewal(self, first: Seen) -> None:
        second = self._vault.see(NAME)
        self._check(second)
        versions = self._vault.versions(NAME)
        expect(len(versions) == 2, f"there are {len(versions)} versions, not 2")
        expect(second.version != first.version, "the newest version is still the first")
        expect(second.leaf.issuer == first.leaf.issuer, "the second version has another issuer")
        expect(dict(second.tags) == dict(first.tags), f"the tags changed: {first.tags} became {second.tags}")
        expect(second.leaf.public_key() != first.leaf.public_key(), "the second version has the key of the first")
        expect(second.leaf.not_valid_after_utc > first.leaf.not_valid_after_utc, "it does not expire later")

    def deny(self) -> None:
        """Request a name that the authority's policy does not allow."""
        with self._chapter(f"Request {DENIED_NAME}, which the authority refuses", "refused") as step:
            location = self._app.create("www-fabrikam", self._request([DENIED_NAME], {}))
            operation = self._watch(step, location)
            expect(operation["status"] == "failed", f"the operation ended as {_ending(operation)}")
            message = operation["error"]["message"]
            expect(DENIED_NAME in message and "not allowed" in message, f"the reason is not the authority's: {message}")
            step.detail(f"{operation['error']['code']}: {message}")

    def _watch(self, step: Step, location: str, other_than: str = "") -> dict[str, Any]:
        """The ended operation; its steps are shown on the way. The operation with the id `other_than` is skipped."""
        return self._app.watch(location, lambda seen: step.now(STEPS.get(seen["step"], seen["step"])), other_than)

    def _request(self, dns_names: list[str], tags: Mapping[str, str]) -> dict[str, Any]:
        return {"authority": AUTHORITY, "dns_names": dns_names, "tags": tags, "validity_days": VALIDITY_DAYS}

    def _check(self, seen: Seen) -> None:
        expect(sorted(seen.names) == sorted(DNS_NAMES), f"the names are {seen.names}")
        expect(TAGS.items() <= seen.tags.items(), f"the tags are {dict(seen.tags)}")
        expect(seen.key_matches, "the private key in the vault's PFX does not match the certificate")
        verify_chain(seen, Path(self._settings["CA_ROOT_CERTIFICATE"]), DNS_NAMES[0], self._vault.now())

    @contextlib.contextmanager
    def _chapter(self, title: str, outcome: str) -> Iterator[Step]:
        """A step that is listed in the summary, with the number of requests to Key Vault."""
        before = self._vault.calls()
        with self._progress.step(title) as step:
            yield step
        self.table.add_row(title, outcome, f"{step.seconds:.1f}", str(self._vault.calls() - before))


def _ending(operation: Mapping[str, Any]) -> str:
    error = operation.get("error") or {}
    return f"{operation['status']}: {error.get('message', 'no reason given')}"


def _tell_transitions(step: Step, operation: Mapping[str, Any]) -> None:
    start = datetime.fromisoformat(operation["requested_at"])
    for transition in operation["transitions"]:
        seconds = (datetime.fromisoformat(transition["at"]) - start).total_seconds()
        step.detail(f"{seconds:5.2f} s  {transition['step']:<10} {STEPS.get(transition['step'], '')}".rstrip())


def _describe(step: Step, seen: Seen) -> None:
    leaf = seen.leaf
    chain = " <- ".join(certificate.subject.rfc4514_string() for certificate in [leaf, *seen.chain])
    for title, text in {
        "subject": leaf.subject.rfc4514_string(),
        "names": ", ".join(seen.names),
        "issuer": leaf.issuer.rfc4514_string(),
        "chain": f"{chain} (verified up to the authority's root)",
        "thumbprint": leaf.fingerprint(hashes.SHA256()).hex(),
        "validity": f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
        "tags": ", ".join(f"{name}={value}" for name, value in seen.tags.items()),
        "secret": f"a PFX of {1 + len(seen.chain)} certificates and the private key that matches",
    }.items():
        step.detail(f"{title:<11}{text}")


def make_pfx(dns_name: str, now: datetime) -> tuple[x509.Certificate, bytes, str]:
    """A self-signed certificate with its key (RSA 2048) in a PFX, and the PFX's password."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, dns_name)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
    leaf = builder.sign(key, hashes.SHA256())
    password = secrets.token_urlsafe(16)
    protection = serialization.BestAvailableEncryption(password.encode())
    return leaf, pkcs12.serialize_key_and_certificates(dns_name.encode(), key, leaf, None, protection), password


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A new directory, kept only if the demo fails: it has the logs."""
    DEFAULT_DIRECTORY.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="demo-", dir=DEFAULT_DIRECTORY))
    try:
        yield directory
    except FAILURES:
        print(f"The logs are in {directory / 'logs'}", file=sys.stderr)
        raise
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)


def tell(progress: Progress, ports: Mapping[str, int], page: bool = False) -> None:
    """Run the demo in its own sandbox; with `page` fill it then, and leave it running until Ctrl-C."""
    start = datetime.now(UTC)
    more = estate.app_settings if page else None
    with (
        _directory() as directory,
        Sandbox(directory, progress, ports, app_settings=more) as sandbox,
        contextlib.ExitStack() as stack,
    ):
        app = stack.enter_context(contextlib.closing(App(sandbox.settings, ALIAS)))
        vault = stack.enter_context(contextlib.closing(VaultObserver(sandbox.settings)))
        story = Story(progress, sandbox.settings, app, vault)
        try:
            story.run()
        except FAILURES:
            sandbox.check()  # if a part has died, that is the reason
            raise
        progress.line()
        progress.line(story.table)
        progress.line(f"\nAll of it happened, in {(datetime.now(UTC) - start).total_seconds():.1f} s.")
        if page:
            _leave_open(progress, sandbox)


def _leave_open(progress: Progress, sandbox: Sandbox) -> None:
    progress.line()
    estate.fill(progress, sandbox.settings)
    progress.line(f"\nThe page:  {sandbox.settings['PAGE_URL']}")
    progress.line(f"It asks for the function key: FUNCTION_KEY in {sandbox.directory / 'env'}")
    progress.line("Ctrl-C stops everything.")
    sandbox.watch()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py demo", description="Issue, import, renew, refuse.")
    for name in PORTS:
        parser.add_argument(f"--{name}-port", type=int, metavar="PORT", help="default: a free one")
    parser.add_argument("--page", action="store_true", help="then show the page, with many certificates, until Ctrl-C")
    options = parser.parse_args(arguments)
    exit_on_signals()
    try:
        tell(Progress(), {name: port for name in PORTS if (port := getattr(options, f"{name}_port"))}, options.page)
    except FAILURES as error:
        print(f"dev.py demo: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    end_process(main())
