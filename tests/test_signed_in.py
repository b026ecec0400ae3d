"""The app behind App Service authentication, in the sandbox: what each role may, and that nothing else opens a door."""

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from handlers.roles import Role
from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import PROMPT, until

pytestmark = pytest.mark.slow

CREATE = {"authority": "by-hand", "dns_names": ["signed-in.contoso.example"]}
CERTIFICATE = "/api/vaults/main/certificates"
# One call for each role: the least role that may make it.
CALLS = [
    ("GET", "/api/vaults", None, Role.READER),
    ("POST", f"{CERTIFICATE}/{{name}}/create", CREATE, Role.REQUESTER),
    ("DELETE", f"{CERTIFICATE}/unknown-{{name}}", None, Role.OPERATOR),
    ("PUT", f"{CERTIFICATE}/contacts", {"contacts": [{"email": "a@contoso.example"}]}, Role.ADMINISTRATOR),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with Sandbox(tmp_path_factory.mktemp("signed-in"), Progress(), app_settings=PROMPT, sign_in="Return401") as sandbox:
        yield sandbox.settings


@pytest.fixture
def client(settings: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=settings["APP_URL"], timeout=60, trust_env=False) as one:
        yield one


def sign_in(client: httpx.Client, *roles: str, name: str = "Ada") -> None:
    fields = {"name": name, "kind": "person", "role": list(roles)}
    assert client.post("/.auth/login/aad/callback", data=fields).status_code == 302


@pytest.mark.parametrize("role", [None, *Role])
def test_each_role_may_what_it_may_and_nothing_more(client: httpx.Client, role: Role | None) -> None:
    sign_in(client, *([role.value_in_entra] if role else []))
    name = f"s-{uuid.uuid4().hex[:8]}"
    for method, path, body, needed in CALLS:
        answer = client.request(method, path.format(name=name), json=body)
        allowed = role is not None and role >= needed
        assert (answer.status_code != 403) == allowed, (method, path, answer.text)
        if not allowed:
            assert needed.value_in_entra in answer.json()["detail"]
        assert answer.status_code != 401


def test_of_several_roles_the_highest_counts(client: httpx.Client) -> None:
    sign_in(client, Role.READER.value_in_entra, Role.OPERATOR.value_in_entra)
    assert client.delete(f"{CERTIFICATE}/unknown").status_code == 404


def test_nobody_comes_in_with_a_function_key_or_a_forged_principal(
    client: httpx.Client, settings: dict[str, str]
) -> None:
    claims = [{"typ": "roles", "val": "CertRelay.Administrator"}]
    forged = base64.b64encode(json.dumps({"auth_typ": "aad", "claims": claims}).encode()).decode()
    headers = {"x-functions-key": settings["MASTER_KEY"], "x-ms-client-principal": forged}
    for method, path, body, _ in CALLS:
        answer = client.request(method, path.format(name="forged"), json=body, headers=headers)
        assert answer.status_code == 401, path
    sign_in(client, "CertRelay.Reader")
    assert client.post(f"{CERTIFICATE}/forged/create", json=CREATE, headers=headers).status_code == 403


def test_health_and_the_events_of_key_vault_need_no_sign_in(client: httpx.Client, settings: dict[str, str]) -> None:
    assert client.get("/api/health").status_code == 200
    assert client.get(settings["VAULT_ADMIN_URL"] + "/events").json()["validated"]
    assert client.get("/api/vaults").status_code == 401


def test_the_history_names_who_signed_in(client: httpx.Client) -> None:
    sign_in(client, "CertRelay.Administrator", name="Zoë")
    name = f"h-{uuid.uuid4().hex[:8]}"
    body = {**CREATE, "authority": "openbao"}
    assert client.post(f"{CERTIFICATE}/{name}/create", json=body).status_code == 202
    until(lambda: bool(client.get(f"{CERTIFICATE}/{name}/history").json()["value"]))
    (me,) = client.get("/.auth/me").json()
    object_id = next(claim["val"] for claim in me["user_claims"] if claim["typ"].endswith("/objectidentifier"))
    assert object_id in client.get(f"{CERTIFICATE}/{name}/history").text


def test_a_managed_identity_calls_with_the_roles_that_are_assigned_to_it(
    client: httpx.Client, settings: dict[str, str]
) -> None:
    service = str(uuid.uuid4())

    def call(*roles: str) -> int:
        given: dict[str, Any] = {"permissions": {}, "roles": roles}
        client.put(f"{settings['VAULT_ADMIN_URL']}/identities/{service}", json=given).raise_for_status()
        asked = {"resource": settings["APP_AUDIENCE"], "api-version": "2019-08-01", "client_id": service}
        header = {"x-identity-header": settings["IDENTITY_HEADER"]}
        token = client.get(settings["IDENTITY_ENDPOINT"], params=asked, headers=header).json()["access_token"]
        return client.get("/api/vaults", headers={"authorization": f"Bearer {token}"}).status_code

    assert (call(), call("CertRelay.Reader"), call("Other.Reader")) == (403, 200, 403)


def test_the_file_for_the_host_holds_no_secret(settings: dict[str, str]) -> None:
    text = (Path(settings["CLOCK_FILE"]).parent / "sign-in.json").read_text()
    secret = json.loads(Path(json.loads(text)["identity"]).read_text())
    assert secret["secret"] not in text
    assert secret["header"] not in text
