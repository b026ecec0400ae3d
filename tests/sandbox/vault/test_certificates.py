"""Get, list, update, delete, recover, purge, back up and restore."""

from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.certificates import CertificateClient, DeletedCertificate, KeyVaultCertificate
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient

from sandbox.vault import VaultServer
from sandbox.vault.seed import Seed, seed
from tests.sandbox.vault.support import Rest, properties, self_signed

NOT_FOUND = (
    "A certificate with (name/id) {} was not found in this key vault. If you recently deleted this certificate you may "
    "be able to recover it using the correct recovery command. For help resolving this issue, please see "
    "https://go.microsoft.com/fwlink/?linkid=2125182"
)


def delete(client: CertificateClient, name: str) -> DeletedCertificate:
    deleted: DeletedCertificate = client.begin_delete_certificate(name, _polling_interval=0.02).result()
    return deleted


def test_what_is_not_there_is_not_found_in_the_words_of_the_service(
    client: CertificateClient, rest: Rest, name: str
) -> None:
    assert rest("GET", f"/certificates/{name}").json() == {
        "error": {"code": "CertificateNotFound", "message": NOT_FOUND.format(name)}
    }
    self_signed(client, name)
    answer = rest("GET", f"/certificates/{name}/{'0' * 32}")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == NOT_FOUND.format(f"{name}/versions/{'0' * 32}")


def test_every_operation_on_an_unknown_name_is_not_found(rest: Rest, name: str) -> None:
    for method, path in [
        ("GET", f"/certificates/{name}"),
        ("PATCH", f"/certificates/{name}"),
        ("DELETE", f"/certificates/{name}"),
        ("GET", f"/certificates/{name}/policy"),
        ("PATCH", f"/certificates/{name}/policy"),
        ("GET", f"/certificates/{name}/pending"),
        ("PATCH", f"/certificates/{name}/pending"),
        ("DELETE", f"/certificates/{name}/pending"),
        ("POST", f"/certificates/{name}/pending/merge"),
        ("POST", f"/certificates/{name}/backup"),
        ("GET", f"/deletedcertificates/{name}"),
        ("POST", f"/deletedcertificates/{name}/recover"),
        ("DELETE", f"/deletedcertificates/{name}"),
        ("GET", f"/certificates/issuers/{name}"),
        ("GET", f"/secrets/{name}"),
        ("GET", f"/keys/{name}"),
        ("POST", f"/keys/{name}/{'0' * 32}/sign"),
    ]:
        assert rest(method, path).status_code == 404, (method, path)


def test_a_name_that_is_not_there_has_no_versions(rest: Rest, client: CertificateClient, name: str) -> None:
    empty: dict[str, object] = {"value": [], "nextLink": None}
    assert rest("GET", f"/certificates/{name}/versions").json() == empty
    self_signed(client, name)
    delete(client, name)
    assert rest("GET", f"/certificates/{name}/versions").json() == empty


def test_names_are_found_in_any_case_and_keep_their_own(client: CertificateClient, name: str) -> None:
    self_signed(client, name.upper())
    assert client.get_certificate(name).name == name.upper()


def test_tags_are_replaced_when_sent_and_kept_when_not(client: CertificateClient, name: str) -> None:
    created = self_signed(client, name)
    client.update_certificate_properties(name, tags={"a": "1", "b": "2"})
    updated = client.update_certificate_properties(name, tags={"c": "3"})
    assert properties(updated).tags == {"c": "3"}
    disabled = client.update_certificate_properties(name, enabled=False)
    assert properties(disabled).tags == {"c": "3"}
    assert disabled.id == created.id
    assert properties(disabled).updated_on > properties(created).updated_on


def test_an_update_without_a_version_shows_the_policy_and_one_with_a_version_does_not(
    client: CertificateClient, rest: Rest, name: str
) -> None:
    version = properties(self_signed(client, name)).version
    for path in (f"/certificates/{name}", f"/certificates/{name}/", f"/certificates/{name}//"):
        assert {"policy", "pending"} <= rest("PATCH", path, json={"tags": {}}).json().keys()
    assert "policy" not in rest("PATCH", f"/certificates/{name}/{version}", json={"tags": {}}).json()


def test_a_disabled_certificate_disables_its_secret_and_key(
    client: CertificateClient, secrets: SecretClient, keys: KeyClient, name: str
) -> None:
    self_signed(client, name)
    client.update_certificate_properties(name, enabled=False)
    with pytest.raises(HttpResponseError, match="Operation get is not allowed on a disabled secret") as refused:
        secrets.get_secret(name)
    assert refused.value.status_code == 403
    with pytest.raises(HttpResponseError, match="disabled key"):
        keys.get_key(name)
    client.update_certificate_properties(name, enabled=True)
    assert secrets.get_secret(name).value


# -- lists ----------------------------------------------------------------------------------------------------------


def test_a_list_is_sorted_paged_and_complete(server: VaultServer, client: CertificateClient, rest: Rest) -> None:
    seed(server.vault, Seed(count=60, prefix="page"))
    answer = rest("GET", "/certificates?maxresults=7").json()
    assert len(answer["value"]) == 7
    link = urlsplit(answer["nextLink"])
    assert f"{link.scheme}://{link.netloc}" == server.url
    assert "api-version=2026-04-01" in link.query
    assert "maxresults=7" in link.query
    for size in (1, 7, 25, None):
        names = [item.name or "" for item in client.list_properties_of_certificates(max_page_size=size)]
        assert names == sorted(names, key=str.lower)
        assert [name for name in names if name.startswith("page-")] == [f"page-{number:05}" for number in range(60)]


def test_an_item_of_a_list_has_the_members_of_the_service(
    server: VaultServer, client: CertificateClient, rest: Rest, name: str
) -> None:
    self_signed(client, f"aaa-{name}")
    item = rest("GET", "/certificates?maxresults=1").json()["value"][0]
    assert item["id"] == f"{server.url}/certificates/aaa-{name}"
    assert set(item) == {"id", "x5t", "attributes", "subject"}
    assert set(item["attributes"]) == {"enabled", "nbf", "exp", "created", "updated"}
    assert item["subject"] == ""
    version = rest("GET", f"/certificates/aaa-{name}/versions").json()
    assert version["nextLink"] is None
    assert version["value"][0]["id"].startswith(item["id"] + "/")
    delete(client, f"aaa-{name}")


def test_versions_are_paged(server: VaultServer, client: CertificateClient, name: str) -> None:
    created = {properties(self_signed(client, name, key_type="EC", key_curve_name="P-256")).version for _ in range(5)}
    listed = [item.version for item in client.list_properties_of_certificate_versions(name, max_page_size=2)]
    assert len(listed) == 5
    assert set(listed) == created


@pytest.mark.parametrize("value", ["0", "26", "-1", "x", "1.5", "99999999999999999999", "%C2%B2"])
def test_maxresults_out_of_range_is_refused(rest: Rest, value: str) -> None:
    answer = rest("GET", f"/certificates?maxresults={value}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BadParameter"


def test_a_broken_skiptoken_is_refused(rest: Rest) -> None:
    assert rest("GET", "/certificates?$skiptoken=%%%").status_code == 400


# -- delete, recover, purge -----------------------------------------------------------------------------------------


def test_a_deleted_certificate_takes_key_and_secret_along_and_can_be_recovered(
    client: CertificateClient, secrets: SecretClient, keys: KeyClient, name: str
) -> None:
    created = self_signed(client, name)
    deleted = delete(client, name)
    assert deleted.recovery_id
    assert deleted.deleted_on is not None
    assert deleted.scheduled_purge_date is not None
    assert (deleted.scheduled_purge_date - deleted.deleted_on).days == 90
    assert deleted.policy is not None
    for get in (client.get_certificate, secrets.get_secret, keys.get_key):
        with pytest.raises(ResourceNotFoundError):
            get(name)
    assert name in [item.name for item in client.list_deleted_certificates()]
    assert name not in [item.name for item in client.list_properties_of_certificates()]
    recovered = client.begin_recover_deleted_certificate(name, _polling_interval=0.02).result()
    assert recovered.id == created.id
    assert secrets.get_secret(name).value


def test_a_recovered_bundle_is_a_whole_one(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name)
    deleted = rest("DELETE", f"/certificates/{name}").json()
    assert list(deleted)[:3] == ["recoveryId", "deletedDate", "scheduledPurgeDate"]
    assert rest("GET", f"/deletedcertificates/{name}").json() == deleted
    recovered = rest("POST", f"/deletedcertificates/{name}/recover").json()
    assert recovered == {key: value for key, value in deleted.items() if key not in list(deleted)[:3]}


def test_a_deleted_item_names_its_recovery(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name)
    delete(client, name)
    (item,) = [item for item in rest("GET", "/deletedcertificates").json()["value"] if item["id"].endswith(name)]
    assert {"recoveryId", "deletedDate", "scheduledPurgeDate"} <= item.keys()
    assert item["attributes"]["recoverableDays"] == 90


def test_an_item_has_an_empty_subject_unless_it_is_deleted(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name)
    assert rest("GET", f"/certificates/{name}/versions").json()["value"][0]["subject"] == ""
    delete(client, name)
    (item,) = [item for item in rest("GET", "/deletedcertificates").json()["value"] if item["id"].endswith(name)]
    assert "subject" not in item


@pytest.mark.parametrize(("version", "is_shown"), [("2016-10-01", False), ("7.0", False), ("7.1", True), ("7.6", True)])
def test_the_recoverable_days_are_shown_since_7_1(
    client: CertificateClient, rest: Rest, name: str, version: str, is_shown: bool
) -> None:
    self_signed(client, name)
    paths = [f"/{kind}/{name}" for kind in ("certificates", "keys", "secrets")]
    shown = [rest("GET", path, version=version).json()["attributes"] for path in paths]
    listed = [rest("GET", path, version=version).json()["value"][0]["attributes"] for path in ("/keys", "/secrets")]
    deleted = rest("DELETE", f"/certificates/{name}", version=version).json()["attributes"]
    items = rest("GET", "/deletedcertificates", version=version).json()["value"]
    for attributes in (*shown, *listed, deleted, *(item["attributes"] for item in items)):
        assert attributes["recoveryLevel"] == "Recoverable+Purgeable"
        assert ("recoverableDays" in attributes) == is_shown


def test_empty_tags_come_back_and_absent_ones_do_not(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name)
    assert "tags" not in rest("GET", f"/certificates/{name}").json()
    assert rest("PATCH", f"/certificates/{name}", json={"tags": {}}).json()["tags"] == {}
    assert rest("PATCH", f"/certificates/{name}", json={"attributes": {}}).json()["tags"] == {}
    assert rest("GET", f"/secrets/{name}").json()["tags"] == {}
    assert rest("GET", f"/keys/{name}").json()["tags"] == {}


def test_the_name_of_a_deleted_certificate_is_taken(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name)
    delete(client, name)
    answer = rest("POST", f"/certificates/{name}/create", json={"policy": {"x509_props": {"subject": "CN=a"}}})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "Conflict"
    assert answer.json()["error"]["innererror"] == {"code": "ObjectIsDeletedButRecoverable"}
    assert answer.json()["error"]["message"].startswith(f"Certificate {name} is currently in a deleted but recoverable")


def test_a_purged_name_is_free(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name)
    delete(client, name)
    answer = rest("DELETE", f"/deletedcertificates/{name}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert rest("GET", f"/deletedcertificates/{name}").json()["error"] == {
        "code": "CertificateNotFound",
        "message": f"Deleted Certificate not found: {name}",
    }
    self_signed(client, name)


def test_a_deletion_may_take_its_time(client: CertificateClient, rest: Rest, server: VaultServer, name: str) -> None:
    self_signed(client, name)
    server.settings.delete_delay = 300
    try:
        rest("DELETE", f"/certificates/{name}")
        assert rest("GET", f"/deletedcertificates/{name}").status_code == 404
        assert name not in rest("GET", "/deletedcertificates").text
        message = f"Certificate {name} is currently being deleted"
        for method, path, end in [
            ("POST", f"/certificates/{name}/create", " and cannot be re-created; retry later."),
            ("DELETE", f"/deletedcertificates/{name}", "."),
            ("POST", f"/deletedcertificates/{name}/recover", "."),
        ]:
            answer = rest(method, path, json={"policy": {"x509_props": {"subject": "CN=a"}}})
            assert answer.status_code == 409
            assert answer.json()["error"]["innererror"] == {"code": "ObjectIsBeingDeleted"}
            assert answer.json()["error"]["message"] == message + end
        server.clock.advance(301)
        assert rest("GET", f"/deletedcertificates/{name}").status_code == 200
    finally:
        server.settings.delete_delay = 0


def test_a_recovery_and_a_purge_may_take_their_time(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    self_signed(client, name)
    backup = rest("POST", f"/certificates/{name}/backup").json()
    delete(client, name)
    server.settings.recover_delay = server.settings.purge_delay = 60
    try:
        recovered = rest("POST", f"/deletedcertificates/{name}/recover")
        assert (recovered.status_code, "recoveryId" in recovered.json()) == (200, False)
        for path in (f"certificates/{name}", f"deletedcertificates/{name}", f"secrets/{name}", f"keys/{name}"):
            assert rest("GET", f"/{path}").status_code == 404, path
        server.clock.advance(61)
        assert rest("GET", f"/certificates/{name}").status_code == 200
        delete(client, name)
        assert rest("DELETE", f"/deletedcertificates/{name}").status_code == 204
        assert name not in rest("GET", "/deletedcertificates").text
        assert rest("POST", "/certificates/restore", json=backup).status_code == 409
        server.clock.advance(61)
        assert rest("POST", "/certificates/restore", json=backup).status_code == 200
    finally:
        server.settings.recover_delay = server.settings.purge_delay = 0


def test_purge_protection_forbids_the_purge(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    self_signed(client, name)
    delete(client, name)
    server.settings.purge_protection = True
    try:
        answer = rest("DELETE", f"/deletedcertificates/{name}")
        assert answer.status_code == 403
        assert "purge protection is enabled" in answer.json()["error"]["message"]
        recovered = rest("POST", f"/deletedcertificates/{name}/recover").json()
        assert recovered["attributes"]["recoveryLevel"] == "Recoverable"
    finally:
        server.settings.purge_protection = False


def test_a_shorter_retention_has_its_own_recovery_level(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    self_signed(client, name)
    server.settings.retention_days = 7
    try:
        attributes = rest("GET", f"/certificates/{name}").json()["attributes"]
        assert attributes["recoveryLevel"] == "CustomizedRecoverable+Purgeable"
        assert attributes["recoverableDays"] == 7
    finally:
        server.settings.retention_days = 90


# -- backup, restore ------------------------------------------------------------------------------------------------


def test_a_backup_is_restored_with_the_same_versions(
    client: CertificateClient, rest: Rest, secrets: SecretClient, name: str
) -> None:
    versions = {properties(self_signed(client, name)).version for _ in range(2)}
    value = secrets.get_secret(name).value
    backup = client.backup_certificate(name)
    assert backup is not None
    assert backup.startswith(b"&AzureKeyVaultKeyBackupV1.microsoft.com")
    with pytest.raises(ResourceExistsError, match="Conflict while restoring certificate"):
        client.restore_certificate_backup(backup)
    delete(client, name)
    with pytest.raises(ResourceExistsError):
        client.restore_certificate_backup(backup)
    client.purge_deleted_certificate(name)
    restored = client.restore_certificate_backup(backup)
    assert isinstance(restored, KeyVaultCertificate)
    assert {item.version for item in client.list_properties_of_certificate_versions(name)} == versions
    assert secrets.get_secret(name).value == value
    assert "pending" not in rest("GET", f"/certificates/{name}").json()


def test_a_changed_backup_is_refused(client: CertificateClient, name: str) -> None:
    self_signed(client, name)
    backup = bytearray(client.backup_certificate(name) or b"")
    backup[-1] ^= 1
    for broken in (bytes(backup), b"", b"nonsense", bytes(backup[:60])):
        with pytest.raises(HttpResponseError) as refused:
            client.restore_certificate_backup(broken)
        assert refused.value.status_code == 400
