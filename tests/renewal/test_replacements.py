"""A replacement: all certificates that match are renewed once, with progress to read."""

import base64

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certrelay.connectors.base import Rejected
from certrelay.errors import Conflict, Invalid, NotFound
from certrelay.renewal import replacement_run, replacements
from certrelay.renewal.replacements import Criteria
from tests.world import ALIAS, World, made, seeded


@pytest.mark.slow
class TestReplacement:
    def run(self, world: World, criteria: Criteria) -> dict[str, int]:
        job = replacements.start(world.services, criteria, "test")
        replacement_run.advance_all(world.services)
        for entry in list(world.services.storage.worklist()):
            world.finish(entry.name)
        replacement_run.advance_all(world.services)
        return replacements.progress(world.services, job.id)

    def test_all_that_match_are_renewed_once_and_the_progress_can_be_read(self, lonely_world: World) -> None:
        world = lonely_world
        names = seeded(world, 3)
        other = world.name("x-other")
        made(world, other, authority=None)
        progress = self.run(world, Criteria(authority="test-ca"))
        assert progress == {"matched": 3, "completed": 3}
        assert [len(world.versions(name)) for name in (*names, other)] == [2, 2, 2, 1]
        replacement_run.advance_all(world.services)
        assert [len(world.versions(name)) for name in names] == [2, 2, 2], "going on changes nothing"

    def test_serials_issuer_and_key_type_are_read_in_the_certificate(self, lonely_world: World) -> None:
        world = lonely_world
        names = [world.name(f"-{number}") for number in range(2)]
        for name in names:
            made(world, name)
        bundle = world.vault.get(names[1])
        assert bundle is not None
        serial = x509.load_der_x509_certificate(base64.b64decode(bundle["cer"])).serial_number
        assert self.run(world, Criteria(serial_numbers=(f"{serial:X}",))) == {"matched": 1, "completed": 1}
        assert self.run(world, Criteria(authority="test-ca", issuer="CN=Nobody")) == {"matched": 0}
        assert self.run(world, Criteria(authority="test-ca", key_type="RSA")) == {"matched": 0}
        assert self.run(world, Criteria(issuer="CN=Test CA", names=(names[0],))) == {"matched": 1, "completed": 1}

    def test_issuer_and_serial_number_are_known_as_any_tool_writes_them(self, lonely_world: World) -> None:
        world, name, kinds = lonely_world, lonely_world.name(), NameOID
        parts = [(kinds.COUNTRY_NAME, "US"), (kinds.STATE_OR_PROVINCE_NAME, "WA"),
                 (kinds.ORGANIZATION_NAME, "Contoso, Inc."), (kinds.COMMON_NAME, "R 3")]  # fmt: skip
        world.ca.certificate = world.ca.self_signed(x509.Name([x509.NameAttribute(*part) for part in parts]))
        made(world, name)
        bundle = world.vault.get(name)
        assert bundle is not None
        digits = f"{x509.load_der_x509_certificate(base64.b64decode(bundle['cer'])).serial_number:040X}"
        spaced = " ".join(digits[at : at + 2] for at in range(0, 40, 2))
        issuers = (
            "CN=R 3,O=Contoso\\, Inc.,ST=WA,C=US",
            'CN=R 3, O="Contoso, Inc.", S=WA, C=US',
            'C = US, ST = WA, O = "Contoso, Inc.", CN = R 3',
        )
        for serial in (spaced, spaced.replace(" ", ":"), f"0x{digits}"):
            for issuer in issuers:
                job = replacements.start(world.services, Criteria(issuer=issuer, serial_numbers=(serial,)), "test")
                assert replacement_run.matches(world.services, ALIAS, name, job.criteria)
        for issuer in issuers:
            assert self.run(world, Criteria(issuer=issuer)) == {"matched": 1, "completed": 1}

    def test_a_refused_renewal_is_counted(self, lonely_world: World) -> None:
        world = lonely_world
        seeded(world, 1)
        world.ca.answers = [Rejected("closed")]
        assert self.run(world, Criteria(authority="test-ca")) == {"matched": 1, "failed": 1}

    def test_criteria_that_name_nothing_or_nothing_known_are_refused(self, world: World) -> None:
        with pytest.raises(Invalid) as refused:
            replacements.start(world.services, Criteria(vaults=("gone",), authority="nobody", key_type="DSA"), "test")
        assert {fault.pointer for fault in refused.value.faults} == {"/vaults", "/authority", "/key_type"}
        with pytest.raises(Invalid):
            replacements.start(world.services, Criteria(), "test")
        with pytest.raises(Invalid) as refused:
            replacements.start(world.services, Criteria(issuer="R3", serial_numbers=("ab", "a-b")), "test")
        assert {fault.pointer for fault in refused.value.faults} == {"/issuer", "/serial_numbers/1"}

    def test_the_same_key_starts_one_and_a_canceled_one_stops(self, world: World) -> None:
        wanted = Criteria(names=("no-such-name",))
        first = replacements.start(world.services, wanted, "test", "key-1")
        assert replacements.start(world.services, wanted, "test", "key-1").id == first.id
        with pytest.raises(Conflict) as refused:
            replacements.start(world.services, Criteria(names=("another-name",)), "test", "key-1")
        assert refused.value.code == "KeyReused"
        assert replacements.cancel(world.services, first.id).state == "canceled"
        with pytest.raises(NotFound):
            replacements.find(world.services, "0" * 32)
