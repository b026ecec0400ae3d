"""Names of every kind, as the conformance suite asks for them."""

from dataclasses import dataclass
from typing import Any

from certrelay.connectors.base import Feature
from certrelay.pki.subject import SubjectNames


@dataclass(frozen=True)
class NameCase:
    """A certificate with these names; `{host}` is a name of the authority's domain that no other test uses."""

    title: str
    names: SubjectNames
    needs: frozenset[Feature] = frozenset()

    def for_host(self, host: str) -> SubjectNames:
        def fill(value: Any) -> Any:
            return tuple(map(fill, value)) if isinstance(value, tuple) else value and value.replace("{host}", host)

        return SubjectNames(**{kind: fill(getattr(self.names, kind)) for kind in SubjectNames.__slots__})


NAME_CASES = [
    NameCase("one_dns_name", SubjectNames("{host}", ("{host}",))),
    NameCase("a_dns_name_and_no_common_name", SubjectNames(None, ("{host}",))),
    NameCase("two_dns_names", SubjectNames("{host}", ("{host}", "www.{host}"))),
    NameCase("a_common_name_that_is_no_alternative_name", SubjectNames("{host}", ("www.{host}",))),
    NameCase("a_label_of_63_characters", SubjectNames(None, ("a" * 63 + ".{host}",))),
    NameCase("an_internationalized_name", SubjectNames(None, ("xn--bcher-kva.{host}",))),
    NameCase("a_wildcard", SubjectNames("*.{host}", ("*.{host}",)), frozenset({Feature.WILDCARD})),
    NameCase("a_wildcard_and_its_apex", SubjectNames("{host}", ("{host}", "*.{host}")), frozenset({Feature.WILDCARD})),
    NameCase("a_common_name_only", SubjectNames("{host}"), frozenset({Feature.COMMON_NAME_ONLY})),
    NameCase("an_ip_address", SubjectNames(None, (), (), ("10.1.2.3",)), frozenset({Feature.IP_ADDRESS})),
    NameCase("an_ip_v6_address", SubjectNames(None, (), (), ("fd00::5",)), frozenset({Feature.IP_ADDRESS})),
    NameCase(
        "a_dns_name_and_an_ip_address",
        SubjectNames("{host}", ("{host}",), (), ("10.1.2.3",)),
        frozenset({Feature.IP_ADDRESS}),
    ),
    NameCase(
        "a_common_name_and_an_ip_address",
        SubjectNames("{host}", (), (), ("10.1.2.3",)),
        frozenset({Feature.IP_ADDRESS}),
    ),
    NameCase("an_email_address_only", SubjectNames(None, (), ("someone@{host}",)), frozenset({Feature.EMAIL})),
    NameCase("a_uri_only", SubjectNames(None, (), (), (), ("spiffe://{host}/job",)), frozenset({Feature.URI})),
    NameCase(
        "an_email_address",
        SubjectNames(None, ("{host}",), ("someone@{host}",)),
        frozenset({Feature.EMAIL}),
    ),
    NameCase("a_uri", SubjectNames(None, ("{host}",), (), (), ("spiffe://{host}/job",)), frozenset({Feature.URI})),
    NameCase(
        "a_user_principal_name",
        SubjectNames(None, ("{host}",), (), (), (), ("someone@{host}",)),
        frozenset({Feature.USER_PRINCIPAL_NAME}),
    ),
]
