"""The host of the app is killed at random moments while certificates are asked for: none is lost, none is doubled."""

import random
import time
from pathlib import Path

import httpx
import pytest

from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import PROMPT

pytestmark = pytest.mark.slow

POLICY = {"key_props": {"kty": "EC", "crv": "P-256"}}
CERTIFICATES, KILLS = 12, 3
LEASE_SECONDS = 400  # of a worker that died, and a little more; a worker that lives keeps its own


def test_a_host_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    names = [f"killed-{number}" for number in range(CERTIFICATES)]
    with (
        Sandbox(tmp_path, Progress(), app_settings=PROMPT) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        app = sandbox.settings["APP_URL"] + "/api/vaults/main/certificates/"
        headers = {"x-functions-key": sandbox.settings["FUNCTION_KEY"]}
        poll = sandbox.settings["APP_URL"] + "/admin/functions/poll_operations"
        admin = sandbox.settings["VAULT_ADMIN_URL"]

        def ask(name: str) -> None:
            body = {"authority": "openbao", "dns_names": [f"{name}.contoso.example"], "policy": POLICY}
            answer = client.post(f"{app}{name}/create", json=body, headers=headers | {"Idempotency-Key": name})
            assert answer.status_code == 202, answer.text

        def status(name: str) -> str:
            return str(client.get(f"{app}{name}/pending", headers=headers).json().get("status"))

        for part in range(KILLS):
            for name in names[part::KILLS]:
                ask(name)
            time.sleep(chance.uniform(0, 0.4))
            sandbox.replace_host(LEASE_SECONDS)
        deadline = time.monotonic() + 600
        while any(status(name) != "completed" for name in names):
            assert time.monotonic() < deadline, {
                name: found for name in names if (found := status(name)) != "completed"
            }
            # A dead host keeps the timer's lease for a minute: the poll is run by hand.
            client.post(poll, json={"input": ""}, headers={"x-functions-key": sandbox.settings["MASTER_KEY"]})
            time.sleep(0.5)
        merges = [
            request
            for request in client.get(f"{admin}/requests").json()["recent"]
            if request["operation"] == "MergeCertificate"
        ]
        versions = {name: len(client.get(f"{app}{name}/versions", headers=headers).json()["value"]) for name in names}
    # A host that dies at a merge may have sent it: the next one then asks again, and Key Vault refuses.
    assert versions == dict.fromkeys(names, 1), merges
    assert sum(merge["status"] in (200, 201) for merge in merges) <= CERTIFICATES, merges
