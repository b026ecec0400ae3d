"""An estate that is worth looking at, for the page: 200 certificates, five authorities, failures of every kind."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from sandbox.progress import Progress

DAY = 86_400
# Beside the sandbox's own `openbao` and `by-hand`: what differs from `openbao`.
AUTHORITIES: dict[str, dict[str, Any]] = {
    "rationed-ca": {"rate": {"requests": 10, "seconds": DAY}, "rules": {"names": ["*.example"]}},
    "locked-ca": {"role_id": "locked", "secret_id": "@LOCKED_SECRET_ID"},
    "down-ca": {"url": "http://127.0.0.1:9"},
}
# Prefix, number, authority, lifetime in months, age in days. A renewal is due when two thirds have passed.
SEEDS = [
    *((f"web{number}", 5, "openbao", 3, 4 * number) for number in range(12)),
    ("api", 45, "rationed-ca", 3, 20),
    ("shop", 12, "down-ca", 3, 62),
    ("pay", 4, "locked-ca", 3, 80),
    ("mail", 3, "openbao", 3, 70),
    ("vpn", 4, "by-hand", 3, 64),
    ("legacy", 40, None, 12, 40),
    ("kiosk", 3, None, 1, 33),
    ("partner", 15, None, 12, 200),
]
ORDERS = 14  # that the authority fulfils


def app_settings(given: Mapping[str, str]) -> dict[str, str]:
    """The app's own settings with the additional authorities: OpenBao's, with what makes each special. Nobody
    listens to its notifications."""
    known = json.loads(given["CERTRELAY_AUTHORITIES"])
    known |= {name: {**known["openbao"], **special} for name, special in AUTHORITIES.items()}
    targets = {
        "on-call": {
            "kind": "teams",
            "url": "@ON_CALL_URL",
            "events": ["failed", "expiring", "expired", "authority-down"],
        }
    }
    return {
        "CERTRELAY_AUTHORITIES": json.dumps(known),
        "LOCKED_SECRET_ID": "no longer the right one",
        "CERTRELAY_NOTIFICATIONS": json.dumps(targets),
        "ON_CALL_URL": "http://127.0.0.1:9/nobody-listens",
    }


def fill(progress: Progress, settings: Mapping[str, str]) -> None:
    """Fill the vault, order some certificates, and start a sweep, which finds what is due."""
    with (
        progress.step("Fill the vault with 200 certificates of five authorities") as step,
        httpx.Client(timeout=120, trust_env=False) as client,
    ):
        for seed in SEEDS:
            client.post(f"{settings['VAULT_ADMIN_URL']}/seed", json=_seed(*seed)).raise_for_status()
        step.now("ordering some more")
        for number in range(ORDERS):
            _order(
                client,
                settings,
                f"site-{number}",
                {"authority": "openbao", "dns_names": [f"site-{number}.contoso.example"]},
            )
        _order(client, settings, "payroll", {"authority": "by-hand", "dns_names": ["payroll.contoso.example"]})
        _order(client, settings, "fabrikam", {"authority": "openbao", "dns_names": ["www.fabrikam.example"]})
        url = f"{settings['APP_URL']}/admin/functions/sweep_certificates"
        client.post(url, json={"input": ""}, headers={"x-functions-key": settings["MASTER_KEY"]}).raise_for_status()


def _seed(prefix: str, count: int, authority: str | None, months: int, age: int) -> dict[str, Any]:
    tags = {"team": prefix.rstrip("0123456789"), **({"certrelay-authority": authority} if authority else {})}
    return {"count": count, "prefix": prefix, "validity_months": months, "age": age * DAY, "tags": tags}


def _order(client: httpx.Client, settings: Mapping[str, str], name: str, body: Mapping[str, Any]) -> None:
    policy = {"key_props": {"kty": "EC", "crv": "P-256"}}
    url = f"{settings['APP_URL']}/api/vaults/main/certificates/{name}/create"
    headers = {"x-functions-key": settings["FUNCTION_KEY"]}
    client.post(url, json={**body, "policy": policy}, headers=headers).raise_for_status()
