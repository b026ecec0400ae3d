"""The sessions of the Azure SDKs: what they take from the environment, and what not."""

from pathlib import Path
from typing import Any

import pytest
import requests

from certrelay import pooled


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> requests.Session:
    for name, value in {"HTTPS_PROXY": "http://proxy.contoso.example:3128", "NO_PROXY": "127.0.0.1",
                        "REQUESTS_CA_BUNDLE": "/etc/roots.pem"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    made: Any = pooled.transport(5, 5).session
    return made  # type: ignore[no-any-return]


def settings(session: requests.Session, url: str) -> Any:
    return session.merge_environment_settings(url, {}, False, True, None)


def test_a_netrc_does_not_replace_what_the_sdk_signs_with(
    session: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    request = requests.Request("GET", "https://contoso.vault.azure.net/", headers={"Authorization": "Bearer x"})
    assert session.prepare_request(request).headers["Authorization"] == "Bearer x"
    assert str(requests.Session().prepare_request(request).headers["Authorization"]).startswith("Basic")


def test_proxies_and_roots_of_the_environment_apply_to_each_host(session: requests.Session) -> None:
    outside = settings(session, "https://contoso.vault.azure.net/certificates/a")
    assert outside["proxies"]["https"] == "http://proxy.contoso.example:3128"
    inside = settings(session, "https://127.0.0.1:8443/certificates/a")
    assert not inside["proxies"]
    assert outside["verify"] == inside["verify"] == "/etc/roots.pem"


def test_the_environment_is_read_once_for_each_host(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    proxies = requests.sessions.get_environ_proxies

    def counted(url: str, no_proxy: str | None = None) -> Any:
        read.append(url)
        return proxies(url, no_proxy=no_proxy)

    monkeypatch.setattr(requests.sessions, "get_environ_proxies", counted)
    for path in "abc":
        settings(session, f"https://contoso.vault.azure.net/{path}")["proxies"].clear()
        settings(session, f"https://127.0.0.1:8443/{path}")
    assert len(read) == 2
    assert settings(session, "https://contoso.vault.azure.net/")["proxies"], "nobody changes what is kept"
