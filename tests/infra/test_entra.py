"""The app registration: made once, brought up to date as often as one likes, and never somebody else's."""

from pathlib import Path

import pytest

from tests.infra.azure_cli import Azure

URL = "https://certrelay-abc.example"
CALLBACK = f"{URL}/.auth/login/aad/callback"


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    azure = Azure(tmp_path)
    azure.answers |= {
        "ad app create": "c-1",
        "ad app show --id c-1 --query id": "o-1",
        "cloud show": "https://graph.example/",
    }
    return azure


def of(azure: Azure, command: str) -> list[str]:
    return [line for line in azure.calls if line.startswith(command)]


def test_a_registration_is_made_with_roles_and_tokens_that_only_people_with_a_role_get(azure: Azure) -> None:
    done = azure.run("entra.sh", CERTRELAY_APP_URL="")
    assert done.returncode == 0, done.stderr
    [made] = of(azure, "ad app create")
    assert "--display-name certrelay --sign-in-audience AzureADMyOrg --app-roles @docs/app-roles.json" in made
    assert "--identifier-uris api://c-1" in of(azure, "ad app update")[0]
    assert '"requestedAccessTokenVersion": 2' in of(azure, "rest --method PATCH")[0]
    assert "https://graph.example/v1.0/applications/o-1" in of(azure, "rest --method PATCH")[0]
    assert of(azure, "ad sp update") == ["ad sp update --id c-1 --set appRoleAssignmentRequired=true"]
    assert "authenticationClientId=c-1" in done.stdout
    assert "redirect" not in " ".join(azure.calls), "its address is not known yet"


def test_its_own_registration_is_found_again_and_another_of_that_name_left_alone(azure: Azure) -> None:
    azure.answers |= {"ad app list": "c-1", "ad app show --id c-1 --query length": "4"}
    assert azure.run("entra.sh", CERTRELAY_APP_URL="").returncode == 0
    assert not of(azure, "ad app create")
    (azure.home / "calls").unlink()
    azure.answers["ad app show --id c-1 --query length"] = "0"
    done = azure.run("entra.sh")
    assert done.returncode == 1
    assert "there is another application named certrelay (c-1)" in done.stderr
    assert not of(azure, "ad app update")
    azure.answers["ad app list"] = "c-1\nc-2"
    assert "there are several applications" in azure.run("entra.sh").stderr


@pytest.mark.parametrize(
    ("known", "tokens", "given"),
    [
        ("", "false", [CALLBACK]),
        ("", "", [CALLBACK]),
        ("https://a.example/x\nhttps://b.example/y", "true", ["https://a.example/x", "https://b.example/y", CALLBACK]),
        (f"{CALLBACK}\nhttps://b.example/y", "false", [CALLBACK, "https://b.example/y"]),
    ],
)
def test_browsers_get_an_address_to_come_back_to_besides_those_that_are_there(
    azure: Azure, known: str, tokens: str, given: list[str]
) -> None:
    azure.answers["ad app show --id c-1 --query web.redirectUris"] = known
    azure.answers["ad app show --id c-1 --query web.implicit"] = tokens
    assert azure.run("entra.sh", CERTRELAY_APP_URL=f"{URL}/").returncode == 0
    [changed] = [line for line in of(azure, "ad app update") if "--web-redirect-uris" in line]
    assert changed.endswith(f"--enable-id-token-issuance true --web-redirect-uris {' '.join(given)} --output none")


@pytest.mark.parametrize("yes", ["true", "True"])
def test_what_is_there_already_is_not_written_again(azure: Azure, yes: str) -> None:
    azure.answers["ad app show --id c-1 --query web.redirectUris"] = f"https://a.example/x\n{CALLBACK}"
    azure.answers["ad app show --id c-1 --query web.implicit"] = yes
    assert azure.run("reply-address.sh", "c-1", URL).returncode == 0
    assert not of(azure, "ad app update")


def test_the_first_deployment_adds_the_address_that_it_made(azure: Azure) -> None:
    assert azure.run("postdeploy.sh", AUTHENTICATION_CLIENT_ID="c-1").returncode == 0
    [changed] = of(azure, "ad app update")
    assert CALLBACK in changed


def test_a_deployer_who_may_not_change_the_registration_is_told_who_does_what(azure: Azure) -> None:
    azure.failing = ("ad app",)
    done = azure.run("postdeploy.sh", AUTHENTICATION_CLIENT_ID="c-1")
    assert done.returncode == 0, "the app runs; only the page waits"
    assert f"infra/reply-address.sh c-1 {URL}" in done.stderr
    assert "postdeploy: done" in done.stdout


def test_without_sign_in_no_registration_is_touched(azure: Azure) -> None:
    assert azure.run("postdeploy.sh").returncode == 0
    assert not of(azure, "ad app")
