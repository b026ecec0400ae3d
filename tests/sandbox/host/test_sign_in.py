"""App Service authentication on the host: sessions, tokens, excluded paths, and what the app is told of a caller."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sandbox import registration
from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.host.auth_settings import ACTIONS, AuthSettings
from sandbox.host.sign_in import SESSION_SECONDS, Request, SignIn
from sandbox.identity import APP_AUDIENCE, APP_ISSUER, REGISTRATION, SYSTEM_ASSIGNED, TENANT, Identities
from tests.sandbox.host.support import Host, running

PERSON = {"name": "Zoë Ångström", "role": ["CertRelay.Reader", "CertRelay.Operator"], "kind": "person"}
GROUP = "8d1c0f5e-0000-4000-8000-000000000001"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64)"}
FORGED = base64.b64encode(
    json.dumps({"auth_typ": "aad", "claims": [{"typ": "roles", "val": "CertRelay.Administrator"}]}).encode()
).decode()
SET_BY_THE_PLATFORM = (
    *(f"x-ms-client-principal{end}" for end in ("", "-id", "-name", "-idp")),
    "x-ms-token-aad-access-token",
    "x-ms-token-aad-id-token",
)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identities, Path]:
    file = tmp_path_factory.mktemp("identity") / "identity.json"
    return Identities.kept_in(file), file


@pytest.fixture(scope="module")
def host(
    azurite: Azurite, identities: tuple[Identities, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    directory = tmp_path_factory.mktemp("signed-in")
    registration.write(directory / "sign-in.json", "RedirectToLoginPage", identities[1])
    written = json.loads((directory / "sign-in.json").read_text())
    written["settings"]["globalValidation"]["excludedPaths"] += ["/api/names/*"]
    (directory / "sign-in.json").write_text(json.dumps(written))
    with running(azurite, directory, options=("--sign-in", str(directory / "sign-in.json"))) as one:
        yield one


@pytest.fixture
def browser(host: Host) -> Iterator[httpx.Client]:
    """With cookies of its own."""
    with httpx.Client(base_url=host.url, headers={**BROWSER, "origin": host.url}, timeout=60, trust_env=False) as one:
        yield one


def sign_in(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/.auth/login/aad/callback", data={**PERSON, **fields})


def seen(answer: httpx.Response) -> dict[str, Any]:
    """What the app saw, and its principal decoded."""
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["platform"]
    if header := found.get("x-ms-client-principal"):
        found["principal"] = json.loads(base64.b64decode(header))
    return found


def values(claims: list[dict[str, str]], kind: str) -> list[str]:
    return [claim["val"] for claim in claims if claim["typ"] == kind]


OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"


def test_a_browser_is_sent_to_the_sign_in_page_and_comes_back_signed_in(browser: httpx.Client) -> None:
    asked = browser.get("/api/files/a%20b?x=1&y=%2F")
    assert asked.status_code == 302
    page = browser.get(asked.headers["location"])
    assert page.status_code == 200
    for role in ("Reader", "Requester", "Operator", "Administrator"):
        assert f'name="role" value="CertRelay.{role}"' in page.text
    back = parse_qs(urlsplit(asked.headers["location"]).query)["post_login_redirect_uri"][0]
    done = browser.post("/.auth/login/aad/callback", params={"post_login_redirect_uri": back}, data=PERSON)
    assert (done.status_code, done.headers["location"]) == (302, "/api/files/a%20b?x=1&y=%2F")
    again = browser.get(done.headers["location"])
    assert again.json()["params"] == {"x": "1", "y": "/"}
    assert again.json()["route"] == {"path": "a b"}


def test_the_app_is_told_who_signed_in_as_app_service_tells_it(browser: httpx.Client) -> None:
    sign_in(browser, groups=GROUP)
    found = seen(browser.get("/api/files/x"))
    principal = found["principal"]
    assert principal["auth_typ"] == "aad"
    assert principal["role_typ"].endswith("/identity/claims/role")
    assert principal["name_typ"].endswith("/claims/emailaddress")
    claims = principal["claims"]
    assert values(claims, "roles") == PERSON["role"]
    assert values(claims, "groups") == [GROUP]
    assert values(claims, "name") == ["Zoë Ångström"]
    assert values(claims, OID) == [found["x-ms-client-principal-id"]]
    assert found["x-ms-client-principal-idp"] == "aad"
    assert found["x-ms-client-principal-name"] == "zoë.ångström@sandbox.example"
    assert found["x-ms-token-aad-id-token"].count(".") == 2


def test_somebody_may_sign_in_without_roles_as_an_application_and_with_an_object_id(browser: httpx.Client) -> None:
    chosen = "8d1c0f5e-0000-4000-8000-0000000000AA"
    sign_in(browser, role=[], kind="application", object_id=chosen)
    found = seen(browser.get("/api/files/x"))
    claims = found["principal"]["claims"]
    assert values(claims, OID) == [chosen.lower()]
    assert (values(claims, "roles"), values(claims, "name"), values(claims, "idtyp")) == ([], [], ["app"])
    assert values(claims, "azp")
    assert "x-ms-client-principal-name" not in found


def test_one_name_is_one_person_and_another_name_is_another(browser: httpx.Client) -> None:
    ids = []
    for name in ("Ada", "Ada", "Bob"):
        sign_in(browser, name=name)
        ids.append(seen(browser.get("/api/files/x"))["x-ms-client-principal-id"])
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    "fields",
    [{"name": ""}, {"name": "a" * 101}, {"name": "a\0b"}, {"role": ["CertRelay.Owner"]}, {"kind": "robot"},
     {"object_id": "no id"}, {"groups": f"{GROUP} admins"}],
)  # fmt: skip
def test_a_choice_that_cannot_be_is_refused_with_a_reason(browser: httpx.Client, fields: dict[str, Any]) -> None:
    refused = sign_in(browser, **fields)
    assert refused.status_code == 400
    assert "<h1>" in refused.text
    assert "set-cookie" not in refused.headers


def test_me_describes_the_session_as_app_service_does_and_nobody_without_one(browser: httpx.Client) -> None:
    assert browser.get("/.auth/me").status_code == 401
    sign_in(browser)
    (me,) = browser.get("/.auth/me").json()
    assert (me["provider_name"], me["user_id"]) == ("aad", "zoë.ångström@sandbox.example")
    assert values(me["user_claims"], "roles") == PERSON["role"]
    assert values(me["user_claims"], "http://schemas.microsoft.com/identity/claims/tenantid") == [TENANT]
    assert me["expires_on"].endswith("Z")
    assert me["id_token"].count(".") == 2


def test_the_session_is_a_random_cookie_that_no_script_and_no_other_site_can_use(browser: httpx.Client) -> None:
    cookies = [sign_in(browser).headers["set-cookie"] for _ in range(2)]
    assert cookies[0] != cookies[1]
    for cookie in cookies:
        name, _, rest = cookie.partition("=")
        key, *attributes = rest.split("; ")
        assert (name, len(key) >= 43) == ("AppServiceAuthSession", True)
        assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Lax"}


def test_signing_out_ends_the_session_wherever_its_cookie_is_kept(browser: httpx.Client, host: Host) -> None:
    sign_in(browser)
    kept = {"cookie": f"AppServiceAuthSession={browser.cookies['AppServiceAuthSession']}"}
    assert host.get("/api/files/x", headers=kept).status_code == 201
    out = browser.get("/.auth/logout")
    assert (out.status_code, out.headers["location"]) == (302, "/.auth/logout/complete")
    assert "signed out" in browser.get("/.auth/logout/complete").text
    assert browser.get("/.auth/me").status_code == 401
    assert host.get("/api/files/x", headers=kept).status_code == 401


def test_signing_in_again_ends_the_session_before(browser: httpx.Client, host: Host) -> None:
    sign_in(browser)
    kept = {"cookie": f"AppServiceAuthSession={browser.cookies['AppServiceAuthSession']}"}
    sign_in(browser, name="Somebody Else")
    assert host.get("/api/files/x", headers=kept).status_code == 401


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "/a\r\nb: c"])
def test_no_redirect_leads_to_another_site(browser: httpx.Client, target: str) -> None:
    refused = browser.post("/.auth/login/aad/callback", params={"post_login_redirect_uri": target}, data=PERSON)
    assert refused.status_code == 400
    out = browser.get("/.auth/logout", params={"post_logout_redirect_uri": target})
    assert out.headers["location"] == "/.auth/logout/complete"


def test_what_the_page_shows_of_its_address_is_text(browser: httpx.Client) -> None:
    page = browser.get("/.auth/login/aad", params={"post_login_redirect_uri": '/"><script>alert(1)</script>'})
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("cookie", ["", "AppServiceAuthSession=", "AppServiceAuthSession=abc", "Other=1; AppService"])
def test_an_unknown_cookie_is_nobodys(host: Host, cookie: str) -> None:
    assert host.get("/api/files/x", headers={"cookie": cookie}).status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_headers_that_only_the_platform_sets_do_nothing_when_a_caller_sends_them(
    browser: httpx.Client, host: Host, method: str
) -> None:
    forged = dict.fromkeys(SET_BY_THE_PLATFORM, FORGED)
    forged |= {name.title(): FORGED for name in SET_BY_THE_PLATFORM}
    assert host.get("/api/files/x", method=method, headers=forged).status_code == 401
    assert seen(host.get("/api/names/abc", headers=forged)) == {}, "nor on a path that authentication leaves alone"
    sign_in(browser)
    found = seen(browser.request(method, "/api/files/x", headers=forged))
    assert FORGED not in found.values()
    assert values(found["principal"]["claims"], "roles") == PERSON["role"]
    assert "x-ms-token-aad-access-token" not in found


def test_excluded_paths_go_through_and_no_others(host: Host) -> None:
    webhook = "/runtime/webhooks/EventGrid?functionName=on_event"
    event = {"headers": {"aeg-event-type": "Unsubscribe"}, "json": {}}
    assert host.get(f"{webhook}&code=e-key", method="POST", **event).status_code == 202
    assert host.get(webhook, method="POST", **event).status_code == 401, "the host still wants its key"
    assert host.get("/api/names/abc").status_code == 201
    for path in ("/api/names", "/api/namesabc", "/api/health/../files/x", "/api/names%2fabc", "//api/names/abc"):
        answer = host.http.request("GET", host.url + path)
        assert answer.status_code in (401, 404), path
        assert "platform" not in answer.text


def test_a_function_key_does_not_open_what_authentication_guards(host: Host) -> None:
    assert host.get("/api/things/7", headers={"x-functions-key": "m-key"}).status_code == 401


def test_a_function_that_wants_a_key_wants_it_besides(browser: httpx.Client) -> None:
    sign_in(browser)
    assert browser.get("/api/things/7").status_code == 401
    assert browser.get("/api/things/7", headers={"x-functions-key": "f-key"}).status_code == 201


def test_programs_and_scripts_get_401_and_learn_where_to_get_a_token(host: Host) -> None:
    for headers in ({}, {**BROWSER, "x-requested-with": "XMLHttpRequest"}):
        answer = host.get("/api/files/x", headers=headers)
        assert answer.status_code == 401
        assert f'resource_id="{REGISTRATION}"' in answer.headers["www-authenticate"]


def test_a_service_comes_in_with_a_token_of_the_identity_endpoint_and_its_assigned_roles(
    host: Host, identities: tuple[Identities, Path]
) -> None:
    known, service = identities[0], "55555555-5555-5555-5555-555555555555"
    known.roles[service] = ["CertRelay.Requester"]
    for audience in (APP_AUDIENCE, REGISTRATION):
        token = known.token(audience, service)
        claims = seen(host.get("/api/files/x", headers={"authorization": f"Bearer {token}"}))["principal"]["claims"]
        assert values(claims, "roles") == ["CertRelay.Requester"]
        assert values(claims, "azp") == [service]
        assert values(claims, "aud") == [REGISTRATION]
    nobody = {"authorization": f"bearer {known.token(APP_AUDIENCE)}"}
    claims = seen(host.get("/api/files/x", headers=nobody))["principal"]["claims"]
    assert (values(claims, "azp"), values(claims, "roles")) == ([SYSTEM_ASSIGNED], [])


def altered(token: str) -> str:
    """The same token, with a role that nobody gave."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    body = base64.urlsafe_b64encode(json.dumps({**claims, "roles": ["CertRelay.Administrator"]}).encode()).decode()
    return ".".join((head, body.rstrip("="), signature))


def test_a_token_that_is_not_for_this_app_is_nobodys(host: Host, identities: tuple[Identities, Path]) -> None:
    known = identities[0]
    good = known.token(APP_AUDIENCE)
    unsigned = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"none"}').decode().rstrip("=")
    tokens = {
        "of another audience": known.token("https://vault.azure.net"),
        "expired": known.token(APP_AUDIENCE, lifetime=-1),
        "of another issuer": known._signed({"aud": REGISTRATION, "iss": f"{APP_ISSUER}x", "oid": "1"}, 60),
        "of another key": Identities().token(APP_AUDIENCE),
        "altered": altered(good),
        "unsigned": f"{unsigned}.{good.split('.')[1]}.",
        "cut": good[:-1],
        "empty": "",
        "no token": "a.b",
    }
    for reason, token in tokens.items():
        answer = host.get("/api/files/x", headers={"authorization": f"Bearer {token}".strip()})
        assert answer.status_code == 401, reason
    assert host.get("/api/files/x", headers={"authorization": f"Basic {good}"}).status_code == 401


def test_a_bad_token_is_refused_although_a_session_is_there(browser: httpx.Client) -> None:
    sign_in(browser)
    assert browser.get("/api/files/x", headers={"authorization": "Bearer a.b.c"}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "", "referer": "https://evil.example/a"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "", "user-agent": "certrelay-client/1"}, 201),
        ({}, 201),
    ],
)
def test_another_site_cannot_post_with_the_session_of_a_browser(
    browser: httpx.Client, headers: dict[str, str], status: int
) -> None:
    sign_in(browser)
    assert browser.post("/api/files/x", headers=headers).status_code == status
    assert browser.get("/api/files/x", headers=headers).status_code == 201, "a link from another site may lead here"


def test_another_site_cannot_sign_a_browser_in(browser: httpx.Client) -> None:
    refused = browser.post("/.auth/login/aad/callback", data=PERSON, headers={"origin": "https://evil.example"})
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)


def test_the_app_learns_from_its_settings_that_authentication_is_on(browser: httpx.Client) -> None:
    assert browser.get("/api/names/abc").json()["settings"] == {
        "WEBSITE_AUTH_ENABLED": "True", "WEBSITE_AUTH_CLIENT_ID": REGISTRATION,
        "WEBSITE_AUTH_OPENID_ISSUER": APP_ISSUER,
    }  # fmt: skip


def test_a_session_outlives_the_moved_clock_of_the_sandbox(browser: httpx.Client, host: Host) -> None:
    sign_in(browser)
    before = browser.get("/api/clock").text
    Clock(host.diary_file.with_name("clock")).advance(60 * 86_400)
    assert browser.get("/api/clock").text[:10] != before[:10]
    assert browser.get("/api/files/x").status_code == 201


# -- in this process: the clock and the settings --------------------------------------------------------------------


def gate(action: str = ACTIONS[0], now: list[float] | None = None) -> SignIn:
    moments = now or [1_800_000_000.0]
    settings = AuthSettings(REGISTRATION, APP_ISSUER, frozenset({REGISTRATION}), action, ("/api/health",))
    return SignIn(settings, Identities(now=lambda: moments[0]), ["CertRelay.Reader"])


def test_a_session_ends_after_eight_hours() -> None:
    now = [1_800_000_000.0]
    one = gate(now=now)
    done = one.check(Request("POST", "/.auth/login/aad/callback", {}, {}, b"name=Ada&role=CertRelay.Reader"))
    assert isinstance(done, tuple)
    asked = Request("GET", "/api/vaults", {}, {"cookie": done[1]["Set-Cookie"].split(";")[0]}, b"")
    now[0] += SESSION_SECONDS - 1
    assert isinstance(one.check(asked), dict)
    now[0] += 1
    refused = one.check(asked)
    assert isinstance(refused, tuple)
    assert refused[0] == 401


@pytest.mark.parametrize(
    ("action", "status"),
    [("RedirectToLoginPage", 302), ("Return401", 401), ("Return403", 403), ("AllowAnonymous", None)],
)
def test_whoever_has_not_signed_in_gets_what_the_settings_say(action: str, status: int | None) -> None:
    answer = gate(action).check(Request("GET", "/api/vaults", {}, {**BROWSER, "x-ms-client-principal": FORGED}, b""))
    assert (answer[0] if isinstance(answer, tuple) else None) == status
    if isinstance(answer, dict):
        assert answer == BROWSER


@pytest.mark.parametrize(
    ("path", "excluded"),
    [("/api/health", True), ("/API/Health", True), ("/api/health/", False), ("/api/healthy", False),
     ("/runtime/webhooks/EventGrid", True), ("/runtime/webhooks", False), ("/runtime/webhooksX", False)],
)  # fmt: skip
def test_an_excluded_path_is_exact_or_what_is_below_a_folder(path: str, excluded: bool, tmp_path: Path) -> None:
    assert AuthSettings.read(properties(tmp_path)).excludes(path) == excluded


def properties(tmp_path: Path) -> dict[str, Any]:
    registration.write(tmp_path / "sign-in.json", "Return401", tmp_path / "identity.json")
    found: dict[str, Any] = json.loads((tmp_path / "sign-in.json").read_text())["settings"]
    return found


def test_a_setting_that_this_host_does_not_know_is_refused_because_it_may_close_a_door(tmp_path: Path) -> None:
    found = properties(tmp_path)
    assert AuthSettings.read(found).action == "Return401"
    provider = found["identityProviders"]["azureActiveDirectory"]
    provider["validation"]["defaultAuthorizationPolicy"] = {"allowedApplications": ["x"]}
    with pytest.raises(ValueError, match=r"does not know .*validation\.defaultAuthorizationPolicy"):
        AuthSettings.read(found)


def test_an_unknown_action_is_refused(tmp_path: Path) -> None:
    found = properties(tmp_path)
    found["globalValidation"]["unauthenticatedClientAction"] = "Return404"
    with pytest.raises(ValueError, match="must be one of RedirectToLoginPage, Return401"):
        AuthSettings.read(found)
    found["globalValidation"] = {"requireAuthentication": False}
    assert AuthSettings.read(found).action == "AllowAnonymous"
