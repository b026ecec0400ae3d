"""Rules bind every way in: each way is tried with each rule, refused before anything is written, and allowed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.certificates import adopt, create, edit, import_file
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.create import CertificateSpec
from certrelay.certificates.import_file import ImportCommand
from certrelay.errors import CertRelayError, Invalid
from certrelay.operations import intervene, reconcile
from certrelay.operations.submit import Origin
from certrelay.pki import purposes
from certrelay.renewal import renew
from certrelay.services import Services
from certrelay.setting_models import Rules
from certrelay.storage.operation import State
from tests.pki.builders import CLIENT_AUTH, SERVER_AUTH, Authority, dns, ec_key, pem, rsa_key, sign, subject
from tests.world import ALIAS, World

LAX = Rules(certificate_authority=True)
WRITES = ("CreateCertificate", "ImportCertificate", "MergeCertificate", "UpdateCertificate", "UpdateCertificatePolicy")


@dataclass(frozen=True)
class Case:
    """Settings that refuse the sample and settings that allow it. The sample is a certificate for `host`; two cases are
    equal if their samples are."""

    refused: dict[str, Any] = field(compare=False)
    allowed: dict[str, Any] = field(compare=False)
    host: str = "www.contoso.example"
    kty: str = "EC"
    ekus: tuple[str, ...] = (SERVER_AUTH.dotted_string, CLIENT_AUTH.dotted_string)
    ca: bool = False
    upns: tuple[str, ...] = ()
    ways: frozenset[str] = frozenset()

    @property
    def policy(self) -> dict[str, Any]:
        props = {"ekus": list(self.ekus), "basic_constraints": {"ca": self.ca}, "validity_months": 12}
        names = {"dns_names": [self.host], "upns": list(self.upns)}
        return {"x509_props": {**props, "subject": f"CN={self.host}", "sans": names}, "key_props": {"kty": self.kty}}


def with_rules(world: World, rules: Rules, holder: str = "vault", authorities: tuple[str, ...] = ()) -> Services:
    """The services with these rules of the vault or of the authority; the other one's rules are lax."""
    settings = world.services.settings
    vault = settings.vaults[ALIAS].model_copy(
        update={"rules": rules if holder == "vault" else LAX, "authorities": authorities}
    )
    known = settings.authorities["test-ca"]
    of_authority = known.settings.model_copy(update={"rules": LAX if holder == "vault" else rules})
    authority = replace(known, settings=of_authority)
    changed = replace(settings, vaults={ALIAS: vault}, authorities={"test-ca": authority})
    return replace(world.services, settings=changed)


def file_of(world: World, case: Case) -> str:
    """A self-signed certificate with its key, as PEM."""
    key, own = rsa_key() if case.kty == "RSA" else ec_key(), subject(case.host)
    ekus = [x509.ObjectIdentifier(oid) for oid in case.ekus]
    upns = [x509.OtherName(extensions_upn(), b"\x0c" + bytes([len(upn)]) + upn.encode()) for upn in case.upns]
    sans = x509.SubjectAlternativeName([*dns(case.host), *upns])
    made = sign(
        key, own, key.public_key(), own, extensions=[sans], ekus=ekus, ca=case.ca, begins=world.services.now(), days=365
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + pem(made)).decode()


def extensions_upn() -> x509.ObjectIdentifier:
    return x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")


def import_it(services: Services, world: World, name: str, case: Case, **policy: Any) -> object:
    command = ImportCommand(file_of(world, case), policy=policy)
    return import_file.import_certificate(services, ALIAS, name, command, requested_by="test")


type Act = Callable[[Services], object]


def by_create(world: World, name: str, case: Case) -> Act:
    spec = CertificateSpec(authority="test-ca", policy=case.policy, validity_days=365)
    return lambda services: create.create(services, ALIAS, name, spec, requested_by="test")


def by_self(world: World, name: str, case: Case) -> Act:
    return lambda services: create.create(services, ALIAS, name, CertificateSpec(policy=case.policy), requested_by="t")


def by_import(world: World, name: str, case: Case) -> Act:
    return lambda services: import_it(services, world, name, case)


def by_import_that_key_vault_renews(world: World, name: str, case: Case) -> Act:
    return lambda services: import_it(services, world, name, case, issuer={"name": "Self"})


def by_adopt(world: World, name: str, case: Case) -> Act:
    import_it(with_rules(world, LAX), world, name, case)
    return lambda services: adopt.adopt(services, ALIAS, name, Adoption("test-ca", validity_days=365))


def by_renewal(world: World, name: str, case: Case) -> Act:
    by_adopt(world, name, case)(with_rules(world, LAX))
    return lambda services: renew.renew(services, ALIAS, name, Origin(requested_by="test"))


def by_policy(world: World, name: str, case: Case) -> Act:
    """The policy of a harmless certificate that Key Vault itself renews."""
    import_it(with_rules(world, LAX), world, name, Case({}, {}), issuer={"name": "Self"})
    return lambda services: edit.update_policy(services, ALIAS, name, case.policy)


def by_policy_of_a_managed_one(world: World, name: str, case: Case) -> Act:
    by_adopt(world, name, Case({}, {}))(with_rules(world, LAX))
    return lambda services: edit.update_policy(services, ALIAS, name, case.policy)


def by_merge(world: World, name: str, case: Case) -> Act:
    """By hand, for an order that was placed before the rules were as they are."""
    lax = with_rules(world, LAX)
    world.ca.wait = 1
    by_create(world, name, case)(lax)
    reconcile.advance(lax, ALIAS, name)
    answer = world.ca.signed(world.ca.seen[-1])
    return lambda services: intervene.provide_answer(services, ALIAS, name, answer)


WAYS = {
    "create": by_create,
    "Self": by_self,
    "import": by_import,
    "import, renewed by Key Vault": by_import_that_key_vault_renews,
    "adopt": by_adopt,
    "renewal": by_renewal,
    "policy": by_policy,
    "policy of a managed one": by_policy_of_a_managed_one,
    "merge": by_merge,
}
OF_AN_AUTHORITY = {"create", "adopt", "renewal", "policy of a managed one", "merge"}
IMPORTS = frozenset({"import", "import, renewed by Key Vault"})
CASES = {
    "names": Case({"names": ["*.bank.example"]}, {"names": ["*.contoso.example"]}),
    "names of users": Case(
        {"names": ["*.contoso.example"]},
        {"names": ["*.contoso.example", "*@contoso.example"]},
        upns=("administrator@contoso.example",),
    ),
    "key_types": Case({"key_types": ["RSA"]}, {"key_types": ["EC"]}),
    "minimum_rsa_size": Case({"minimum_rsa_size": 3072}, {"minimum_rsa_size": 2048}, kty="RSA"),
    "exportable": Case({"exportable": False}, {"exportable": True}),
    "max_validity_days": Case({"max_validity_days": 90}, {"max_validity_days": 365}),
    # Key Vault's CSRs ask for no CA certificate, so none can be merged.
    "certificate_authority": Case(
        {"certificate_authority": False}, {"certificate_authority": True}, ca=True, ways=frozenset(WAYS) - {"merge"}
    ),
    "extended_key_usages": Case(
        {"extended_key_usages": ["serverAuth", "codeSigning"]}, {"extended_key_usages": ["serverAuth", "clientAuth"]}
    ),
    "requires_extended_key_usage": Case({"requires_extended_key_usage": True}, {}, ekus=()),
    "public_trust": Case({"public_trust": True}, {}, host="intranet"),
    "issuer_pins": Case({"issuer_pins": ["aa" * 32]}, {}, ways=IMPORTS | {"merge"}),
}


def writes(world: World, name: str) -> int:
    return sum(entry["name"] == name and entry["operation"] in WRITES for entry in world.server.requests.recent())


def refused(world: World, name: str, act: Act, services: Services, words: str) -> None:
    before, row = writes(world, name), world.services.storage.open(ALIAS, name)
    with pytest.raises(CertRelayError, match=words) as error:
        act(services)
    assert error.value.code in ("NotAllowedByRules", "Unverified")
    assert writes(world, name) == before, "nothing was written"
    after = world.services.storage.open(ALIAS, name)
    assert (after and after.state) == (row and row.state)


def rules_by_sample() -> dict[Case, list[str]]:
    """What is made ready for a sample, and allowed in the end, does for all its rules."""
    found: dict[Case, list[str]] = {}
    for rule, case in CASES.items():
        found.setdefault(case, []).append(rule)
    return found


@pytest.mark.parametrize(
    ("way", "rules"),
    [
        pytest.param(way, rules, marks=() if {"names", "issuer_pins"} & {*rules} else pytest.mark.slow)
        for case, rules in rules_by_sample().items()
        for way in sorted(case.ways or WAYS)
    ],
    ids=lambda given: given if isinstance(given, str) else "+".join(given),
)
def test_a_rule_binds_a_way_in(world: World, way: str, rules: list[str]) -> None:
    name, sample = world.name(), CASES[rules[0]]
    act = WAYS[way](world, name, sample)
    allowed: dict[str, Any] = {"certificate_authority": sample.ca}
    holders = ["vault", "authority"] if way in OF_AN_AUTHORITY else ["vault"]
    for rule in rules:
        for holder in holders:
            strict = with_rules(world, Rules(**CASES[rule].refused), holder)
            refused(world, name, act, strict, rf"rule {rule.partition(' ')[0]}\b")
        allowed |= CASES[rule].allowed
    act(with_rules(world, Rules(**allowed)))


def test_without_a_rule_a_ca_certificate_can_be_imported_and_not_requested(world: World) -> None:
    """What `openssl req -x509` makes by default is one."""
    case, unruled = Case({}, {}, ca=True), with_rules(world, Rules())
    for way in ("create", "Self"):
        name = world.name(f"-{way.lower()}")
        refused(world, name, WAYS[way](world, name, case), unruled, "rule certificate_authority")
    name = world.name("-imported")
    WAYS["import"](world, name, case)(unruled)
    assert len(world.versions(name)) == 1


@pytest.mark.parametrize("way", ["create", "Self", "import, renewed by Key Vault", "adopt", "renewal", "policy"])
def test_a_vault_says_who_may_issue_key_vaults_own_issuers_included(world: World, way: str) -> None:
    name = world.name()
    act = WAYS[way](world, name, Case({}, {}))
    by_authority = way in OF_AN_AUTHORITY
    other, right = ("Self", "test-ca") if by_authority else ("test-ca", "SELF")
    refused(
        world, name, act, with_rules(world, LAX, authorities=(other,)), r"does not allow .* \(setting authorities\)"
    )
    act(with_rules(world, LAX, authorities=(right,)))


@pytest.mark.parametrize("by", ["create", "policy", "renewal"])
def test_a_key_that_is_not_exportable_is_not_reused_as_an_exportable_one(world: World, by: str) -> None:
    name, lax = world.name(), with_rules(world, LAX)
    import_it(lax, world, name, Case({}, {}), key_props={"exportable": False})
    key: dict[str, Any] = {"reuse_key": True, "exportable": True}
    if by == "renewal":
        edit.update_policy(lax, ALIAS, name, {"key_props": key | {"reuse_key": False}})
        adopt.adopt(lax, ALIAS, name, Adoption("test-ca"))
        changes = renew.Changes(reuse_key=True)
        with pytest.raises(Invalid, match="not exportable"):
            renew.renew(lax, ALIAS, name, Origin(requested_by="t"), changes)
        edit.update_policy(lax, ALIAS, name, {"key_props": {"exportable": False}})
        assert renew.renew(lax, ALIAS, name, Origin(requested_by="t"), changes).state is State.REQUESTED
        return
    sample = Case({}, {}).policy
    before = writes(world, name)
    spec = CertificateSpec(authority="test-ca", policy={**sample, "key_props": {"kty": "RSA", "reuse_key": True}})
    with pytest.raises(Invalid, match="not exportable, so it cannot be reused") as error:
        if by == "create":
            create.create(lax, ALIAS, name, spec, requested_by="t")
        else:
            edit.update_policy(lax, ALIAS, name, {"key_props": key})
    assert error.value.faults[0].pointer.endswith("/key_props/exportable")
    assert writes(world, name) == before


def test_a_name_that_the_authority_adds_must_be_allowed_as_well(world: World) -> None:
    name = world.name()
    rules = Rules(names=("www.contoso.example",), extra_names=True)
    strict, loose = with_rules(world, rules), with_rules(world, rules.model_copy(update={"names": ("*",)}))
    spec = CertificateSpec(authority="test-ca", dns_names=("www.contoso.example",), policy={"key_props": {"kty": "EC"}})
    world.ca.wait = 1
    create.create(strict, ALIAS, name, spec, requested_by="test")
    reconcile.advance(strict, ALIAS, name)
    added = x509.SubjectAlternativeName([*dns("www.contoso.example", "contoso.example")])
    answer = world.ca.signed(world.ca.seen[-1], replaced=[added])
    refused(
        world, name, lambda it: intervene.provide_answer(it, ALIAS, name, answer), strict, "the name contoso.example"
    )
    assert intervene.provide_answer(loose, ALIAS, name, answer).state is State.COMPLETED


def test_a_root_that_the_rules_do_not_keep_is_left_out_of_an_import(world: World) -> None:
    root, key = Authority.root(begins=world.services.now()), rsa_key()
    leaf = root.sign(key.public_key(), subject("www.contoso.example"), begins=world.services.now())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    command = ImportCommand((private + pem(leaf, root.certificate)).decode())
    services, name = with_rules(world, Rules(keep_root=False)), world.name()
    imported = import_file.import_certificate(services, ALIAS, name, command, requested_by="test")
    assert "the root was left out (rule keep_root)" in imported.changes
    assert services.storage.ended(ALIAS, name)[0].chain == (leaf.public_bytes(Encoding.DER),)


def test_an_extended_key_usage_is_named_as_people_name_it_or_by_its_oid() -> None:
    assert purposes.oid_of("SERVERAUTH") == purposes.oid_of(SERVER_AUTH.dotted_string) == SERVER_AUTH.dotted_string
    with pytest.raises(ValueError, match="must be an extended key usage such as serverAuth"):
        purposes.oid_of("serverAut")
