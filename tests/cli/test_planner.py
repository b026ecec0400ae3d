"""What a plan finds, from values alone: no network, no clock."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certrelay.pki.distinguished_names import as_key_vault_takes_it
from certrelay.pki.names import subject_names
from certrelay_cli.code import export, planner, prepare, render
from certrelay_cli.code.actual import Actual
from certrelay_cli.code.document import Document
from certrelay_cli.code.planner import Change, Kind, Plan
from certrelay_cli.code.wanted import Wanted, all_of

DAYS = {"corp": 90, "other": 90}


def wanted(**entry: Any) -> Wanted:
    content = {"names": ["www.contoso.example"], "authority": "corp", **entry}
    [found] = all_of(Document.model_validate({"vault": "main", "certificates": {"www": content}})).values()
    return found


def there(one: Wanted | None = None, **changes: Any) -> Actual:
    """The certificate that a plan for `one` has made."""
    one = one or wanted()
    body = one.create_body()
    policy = {"issuer": {"name": "Unknown"}} | body["policy"]
    policy.setdefault(
        "lifetime_actions", [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "AutoRenew"}}]
    )
    properties = policy["key_props"]
    found = Actual(
        name=one.name, version="1", authority=one.authority, policy=policy, names=one.names,
        key=(properties["kty"].removesuffix("-HSM"), properties["key_size"]), enabled=one.enabled, tags=one.tags,
        trigger=one.trigger, days=(one.days or 90) if one.authority else None,
    )  # fmt: skip
    return replace(found, **changes)


def changes(one: Wanted, actual: Actual | None) -> list[Change]:
    found = {} if actual is None else {one.name.lower(): actual}
    return list(planner.plan("main", {one.name: one}, found, DAYS).changes)


def kinds(one: Wanted, actual: Actual | None) -> list[Kind]:
    return [change.kind for change in changes(one, actual)]


@pytest.mark.parametrize(
    "entry",
    [
        {}, {"key": "EC-P384"}, {"key": "RSA-HSM-3072"}, {"renew": "30d"}, {"renew": "67%"}, {"days": 45},
        {"names": ["B.contoso.example", "10.0.0.1", "2001:DB8::1", "a@contoso.example", "spiffe://contoso/x"]},
        {"names": ["bücher.example"]}, {"upns": ["a@contoso.example"]}, {"tags": {"a": "b"}}, {"enabled": False},
        {"content_type": "pem", "reuse_key": True, "exportable": False}, {"ekus": ["1.3.6.1.5.5.7.3.1"]},
        {"authority": None, "issuer": "digicert", "certificate_type": "OV-SSL", "days": 365, "auto_renew": False},
        {"authority": None, "issuer": "Self", "renew": "10d"}, {"authority": None, "issuer": "Unknown"},
        {"subject": "CN=www.contoso.example, O=Contoso"}, {"ca": True},
        {"ekus": ["1.3.6.1.5.5.7.3.1"] * 2, "key_usage": ["keyEncipherment", "digitalSignature", "digitalSignature"]},
    ],
)  # fmt: skip
def test_what_a_plan_made_leaves_nothing_to_do(entry: dict[str, Any]) -> None:
    one = wanted(**entry)
    actual = there(one)
    properties = actual.policy["x509_props"]
    if one.issuer and one.days:
        properties["validity_months"] = 12
    assert changes(one, actual) == []


SPELLINGS = [
    {"dns_names": ["WWW.Contoso.example."]}, {"dns_names": ["*.B\u00fccher.example"]},
    {"email_addresses": ["Ops@Contoso.EXAMPLE"]}, {"email_addresses": ["ops@b\u00fccher.example"]},
    {"uris": ["SPIFFE://Contoso.Example/Path?Q#F"]}, {"uris": ["HTTPS://User@WWW.Contoso.Example:443/X"]},
    {"uris": ["https://WWW.Contoso.example?Q=A@B"]}, {"ip_addresses": ["2001:DB8:0::1"]},
    {"user_principal_names": ["User@CONTOSO.example"]},
]  # fmt: skip


@pytest.mark.parametrize("asked", SPELLINGS)
def test_a_name_is_found_as_the_app_has_written_it(asked: dict[str, list[str]]) -> None:
    """Otherwise each plan would order a new version."""
    written = subject_names(None, **asked)
    [(kind, [name])] = asked.items()
    field = "upns" if kind == "user_principal_names" else "names"
    in_policy = {"dns_names": "dns_names", "email_addresses": "emails", "ip_addresses": "ipAddresses", "uris": "uris"}
    one = wanted(**{"names": [], "subject": "CN=a", field: [name]})
    assert one.sans == {in_policy.get(kind, "upns"): list(getattr(written, kind))}
    before = there(one)
    properties = {**before.policy["x509_props"], "sans": {in_policy.get(kind, "upns"): [name]}}
    assert changes(one, replace(before, policy={**before.policy, "x509_props": properties})) == []


@pytest.mark.parametrize(
    "subject",
    [
        r"CN=www.contoso.example, O=Contoso\, Inc.", 'CN=www.contoso.example,O="Contoso, Inc."', r"cn=a,O=M\C3\BCller",
        r"CN=a, OU=b+OU=c", r'CN=a, O="say ""hi"""', r"CN=a, O=x\ ", r"CN=a; O=b", "OID.2.5.4.15=Private, CN=a",
        "CN=a\\b",
    ],
)  # fmt: skip
def test_a_subject_is_found_as_key_vault_takes_it(subject: str) -> None:
    one = wanted(subject=subject)
    before = there(one)
    properties = {**before.policy["x509_props"], "subject": as_key_vault_takes_it(subject)}
    assert changes(one, replace(before, policy={**before.policy, "x509_props": properties})) == []
    properties["subject"] += "x"
    assert kinds(one, replace(before, policy={**before.policy, "x509_props": properties})) == [Kind.POLICY]


def test_what_is_not_there_is_created_with_all_that_the_file_says() -> None:
    [change] = changes(wanted(key="EC-P256", days=45, renew="30d", tags={"a": "b"}), None)
    assert (change.kind, change.base, change.request) == (Kind.CREATE, "", "create_certificate")
    assert change.body is not None
    assert change.body["authority"] == "corp"
    assert change.body["validity_days"] == 45
    assert change.body["tags"] == {"a": "b"}
    assert change.body["policy"]["key_props"]["crv"] == "P-256"
    assert change.body["policy"]["lifetime_actions"][0]["trigger"] == {"days_before_expiry": 30}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"names": ["www.contoso.example", "b.contoso.example"]}, "the certificate lacks b.contoso.example"),
        ({"names": ["c.contoso.example"]}, "the certificate has www.contoso.example, which the file has not"),
        ({"key": "EC-P256"}, "the key is RSA-2048, the file wants EC-P256"),
        ({"key": "RSA-3072"}, "the key is RSA-2048, the file wants RSA-3072"),
        ({"authority": "other"}, "authority corp issues it, the file wants other"),
    ],
)
def test_what_only_another_certificate_can_have_is_a_new_version(entry: dict[str, Any], why: str) -> None:
    [change] = changes(wanted(**entry), there())
    assert change.kind is Kind.NEW_VERSION
    assert why in change.why
    assert change.base == "1"


def test_a_name_that_the_authority_added_is_no_reason() -> None:
    assert changes(wanted(), there(names=frozenset({"www.contoso.example", "contoso.example"}))) == []


def test_a_certificate_that_cannot_be_read_is_judged_by_its_policy() -> None:
    assert changes(wanted(), there(names=None, key=None)) == []


@pytest.mark.parametrize(
    ("section", "fields", "why"),
    [
        ("key_props", {"reuse_key": True}, "reuse_key: yes becomes no"),
        ("key_props", {"exportable": False}, "exportable: no becomes yes"),
        ("key_props", {"key_size": 4096}, "key: RSA-4096 becomes RSA-2048"),
        ("secret_props", {"contentType": "application/x-pem-file"},
         "content type: application/x-pem-file becomes application/x-pkcs12"),
        ("x509_props", {"sans": {"dns_names": ["evil.example"]}}, "names: evil.example becomes www.contoso.example"),
        ("x509_props", {"subject": "CN=evil"}, "subject: CN=evil becomes CN=www.contoso.example"),
        ("x509_props", {"ekus": ["1.3.6.1.5.5.7.3.2"]},
         "ekus: 1.3.6.1.5.5.7.3.2 becomes 1.3.6.1.5.5.7.3.1, 1.3.6.1.5.5.7.3.2"),
    ],
)  # fmt: skip
def test_a_policy_that_was_changed_in_the_portal_is_changed_back(section: str, fields: Any, why: str) -> None:
    actual = there()
    actual.policy[section].update(fields)
    [change] = changes(wanted(), actual)
    assert (change.kind, change.request) == (Kind.POLICY, "update_certificate_policy")
    assert why in change.why
    assert change.body is not None
    assert change.body.keys() == {section}
    actual.policy[section].update(change.body[section])
    assert changes(wanted(), actual) == []


def test_a_name_kind_that_was_added_to_the_policy_is_emptied() -> None:
    actual = there()
    actual.policy["x509_props"]["sans"]["emails"] = ["evil@contoso.example"]
    [change] = changes(wanted(), actual)
    assert change.body == {"x509_props": {"sans": {"dns_names": ["www.contoso.example"], "emails": []}}}


@pytest.mark.parametrize(
    ("drift", "body"),
    [
        ({"trigger": ("days_before_expiry", 3)}, {"trigger": {"days_before_expiry": 30}}),
        ({"days": 10}, {"validity_days": 90}),
        ({"days": None}, {"validity_days": 90}),
    ],
)
def test_when_and_for_how_long_it_is_renewed_is_one_adoption(drift: dict[str, Any], body: dict[str, Any]) -> None:
    one = wanted(renew="30d")
    [change] = changes(one, there(one, **drift))
    assert (change.kind, change.request) == (Kind.POLICY, "adopt_certificate")
    assert change.body is not None
    assert change.body.items() >= {"authority": "corp", "force": True, **body}.items()


def test_key_vaults_own_renewal_of_a_managed_certificate_is_switched_off() -> None:
    actual = there()
    [change] = changes(wanted(), replace(actual, policy={**actual.policy, "issuer": {"name": "Self"}}))
    assert (change.kind, change.request) == (Kind.POLICY, "adopt_certificate")


def test_one_that_was_created_elsewhere_is_adopted_without_force() -> None:
    [change] = changes(wanted(), there(authority=None))
    assert (change.kind, change.request) == (Kind.ADOPT, "adopt_certificate")
    assert change.body == {"authority": "corp", "validity_days": 90}


def test_a_version_from_elsewhere_over_one_of_certrelay_is_replaced() -> None:
    assert kinds(wanted(), there(authority=None, was_managed=True)) == [Kind.NEW_VERSION]


def test_one_for_which_the_file_names_no_authority_is_released() -> None:
    one = wanted(authority=None, issuer="Unknown")
    assert kinds(one, there(one, authority="corp")) == [Kind.RELEASE]


def test_tags_and_enabled_are_changed_each_by_itself() -> None:
    one = wanted(tags={"a": "1", "b": "2"})
    found = changes(one, there(one, tags={"a": "0", "c": "3"}, enabled=False))
    assert [change.kind for change in found] == [Kind.TAGS, Kind.ENABLED]
    assert found[0].why == ("a: 0 becomes 1", "b: none becomes 2", "c: 3 becomes none")
    assert [change.body for change in found] == [{"tags": {"a": "1", "b": "2"}}, {"enabled": True}]


def test_an_imported_certificate_that_is_gone_cannot_be_made() -> None:
    one = wanted(authority=None, issuer="Unknown")
    found = planner.plan("main", {"www": one}, {}, DAYS)
    assert found.changes == ()
    assert "import it" in found.problems[0]


@pytest.mark.parametrize("prune", [False, True])
def test_what_is_not_in_the_file_is_never_deleted(prune: bool) -> None:
    found = planner.plan(
        "main", {"WWW": replace(wanted(), name="WWW")}, {"www": there()}, DAYS, frozenset({"www", "b"}), prune
    )
    assert [(change.kind, change.name, change.request) for change in found.changes] == (
        [(Kind.RELEASE, "b", "release_certificate")] if prune else []
    )
    assert bool(found.notes) is not prune
    assert "delete_certificate" not in str(found)


def test_a_plan_survives_its_way_through_a_file(tmp_path: Path) -> None:
    made = [changes(one, None)[0] for one in (wanted(renew="30d"), wanted(authority=None, issuer="Self"))]
    plan = Plan("main", tuple(made), endpoint="https://app.example")
    (tmp_path / "plan.json").write_text(prepare.to_text(plan), encoding="utf-8")
    assert prepare.load(tmp_path / "plan.json") == plan


def test_an_endpoint_is_a_tag_and_is_written_and_exported_as_an_endpoint() -> None:
    one = wanted(endpoint="www.contoso.example:443", tags={"a": "b"})
    assert one.create_body()["tags"] == {"a": "b", "certrelay-endpoint": "www.contoso.example:443"}
    assert changes(one, there(one)) == []
    assert kinds(one, there(one, tags={"a": "b"})) == [Kind.TAGS]
    entry = export.entry_of(there(one), DAYS)
    assert (entry["endpoint"], entry["tags"]) == ("www.contoso.example:443", {"a": "b"})


def test_what_is_left_alone_is_told_in_ten_lines_and_completely_in_json() -> None:
    managed = frozenset(f"other-{number:03}" for number in range(107))
    found = planner.plan("main", {}, {}, DAYS, managed)
    told = [line for line, _ in render.lines(found)]
    assert told[-2:] == ["  … and 97 more; --json has all", "nothing to do: 0 as wanted"]
    assert len(told) == 12
    assert render.markdown(found).count("other-") == 10
    assert len(render.to_json(found)["notes"]) == 107


@pytest.mark.parametrize("name", ["10.0.0.1", "https://a.example", "a@b.example"])
def test_what_is_exported_leaves_nothing_to_do_or_is_left_out(name: str) -> None:
    """People have certificates whose DNS names are none."""
    odd = there(replace(wanted(), dns=(name,)))
    text, [note] = export.text("main", [odd, replace(there(), name="good")], DAYS)
    assert note == "www is left out, since the file cannot say what it is: a name looks like one of another kind"
    assert "good" in text
    nameless = there(replace(wanted(), dns=("",)))
    assert "pydantic" not in export.text("main", [nameless], DAYS)[1][0]
