"""From `POST create` to merged, through the whole app, against the same work done by hand.

    python3 dev.py bench issuance [--certificates 20]

The floor is what nobody can save: create in Key Vault, sign by OpenBao, merge, over connections that are warm. All take
turns in one run. A caller who polls also waits for the queue: up to maxPollingInterval of host.json.
"""

import ssl
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import hvac
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench._app import POLICY
from bench._report import Line, arguments, conclude, in_turns, milliseconds, ratio
from sandbox.openbao import OpenBao
from sandbox.progress import Progress
from sandbox.up import Sandbox

LIMIT = 4.0
QUIET = 0.5  # seconds before each turn, in which the events and wake-ups of the one before are over


def _create(settings: dict[str, str], client: httpx.Client, name: str, headers: dict[str, str]) -> httpx.Response:
    body = {"authority": "openbao", "dns_names": [f"{name}.contoso.example"], "policy": POLICY}
    where = f"{settings['APP_URL']}/api/vaults/main/certificates/{name}"
    return client.post(f"{where}/create", json=body, headers=headers).raise_for_status()


def waiting(settings: dict[str, str], client: httpx.Client, name: str) -> float:
    """Seconds of the one request, whose response says completed."""
    begun = time.perf_counter()
    found = _create(settings, client, name, {"Prefer": "wait=60"}).json()
    assert found["status"] == "completed", found
    return time.perf_counter() - begun


def polling(settings: dict[str, str], client: httpx.Client, name: str) -> float:
    """Seconds from the request to the response to a poll that says completed."""
    begun = time.perf_counter()
    location = _create(settings, client, name, {}).headers["Location"]
    while True:
        found = client.get(settings["APP_URL"] + location).json()
        if found["status"] != "inProgress":
            assert found["status"] == "completed", found
            return time.perf_counter() - begun
        time.sleep(0.02)


def by_hand(vault: httpx.Client, bao: Any, name: str) -> float:
    """Seconds for the same three calls without anything around them."""
    version = {"api-version": "2025-07-01"}
    subject = {"subject": f"CN={name}.contoso.example", "sans": {"dns_names": [f"{name}.contoso.example"]}}
    policy = {**POLICY, "x509_props": subject, "issuer": {"name": "Unknown"}}
    begun = time.perf_counter()
    made = vault.post(f"/certificates/{name}/create", params=version, json={"policy": policy}).json()
    csr = x509.load_der_x509_csr(b64decode(made["csr"])).public_bytes(Encoding.PEM).decode()
    signed = bao.write("pki_int/sign/web", csr=csr, common_name=f"{name}.contoso.example")["data"]
    pem = [signed["certificate"], *signed["ca_chain"]]
    chain = [x509.load_pem_x509_certificate(one.encode()).public_bytes(Encoding.DER) for one in pem]
    x5c = [b64encode(der).decode() for der in chain]
    vault.post(f"/certificates/{name}/pending/merge", params=version, json={"x5c": x5c}).raise_for_status()
    return time.perf_counter() - begun


def vault_client(settings: dict[str, str], client: httpx.Client) -> httpx.Client:
    resource = settings["VAULT_URL"].replace("//127.", "//")
    answer = client.get(
        settings["IDENTITY_ENDPOINT"],
        params={"api-version": "2019-08-01", "resource": resource},
        headers={"X-IDENTITY-HEADER": settings["IDENTITY_HEADER"]},
    ).json()
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    tls = ssl.create_default_context(cafile=settings["CA_BUNDLE"])
    return httpx.Client(base_url=settings["VAULT_URL"], headers=headers, verify=tls, trust_env=False)


def measure(certificates: int) -> dict[str, list[float]]:
    """Seconds of each certificate: by `hand`, `waiting` for the response, and `polling`, taken in turns."""
    with tempfile.TemporaryDirectory() as directory, Sandbox(Path(directory), Progress()) as sandbox:
        settings = sandbox.settings
        key = {"x-functions-key": settings["FUNCTION_KEY"]}
        with httpx.Client(headers=key, timeout=90, trust_env=False) as client, vault_client(settings, client) as vault:
            bao = openbao(sandbox)
            by_hand(vault, bao, "warm-up-floor")
            waiting(settings, client, "warm-up")
            return in_turns(
                {
                    "hand": _alone(lambda number: by_hand(vault, bao, f"floor-{number}")),
                    "waiting": _alone(lambda number: waiting(settings, client, f"waiting-{number}")),
                    "polling": _alone(lambda number: polling(settings, client, f"polling-{number}")),
                },
                certificates,
            )


def main() -> int:
    given = arguments("issuance", __doc__, certificates=20)
    found = measure(given.certificates)
    return conclude("issuance", given, [
        Line("the three calls by hand", milliseconds(found["hand"])),
        Line("`Prefer: wait=60`, one call", milliseconds(found["waiting"])),
        Line("without it, through the queue", milliseconds(found["polling"])),
        ratio("`Prefer: wait` against by hand, medians", found["waiting"], found["hand"], LIMIT),
    ], "azure-functions", "azure-keyvault-certificates", "azure-data-tables")  # fmt: skip


def _alone(contestant: Callable[[int], float]) -> Callable[[int], float]:
    """The contestant after a pause: one at a time, with nothing of the one before."""

    def turn(number: int) -> float:
        time.sleep(QUIET)
        return contestant(number)

    return turn


def openbao(sandbox: Sandbox) -> Any:
    (authority,) = (part for part in sandbox._parts if isinstance(part, OpenBao))
    return hvac.Client(authority.address, authority.root_token)


if __name__ == "__main__":
    sys.exit(main())
