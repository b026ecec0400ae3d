"""The CA/Browser Forum's Baseline Requirements for publicly trusted TLS server certificates."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509

from certrelay.pki import extensions
from certrelay.pki.names import is_ip_address, names_of
from certrelay.pki.subject import SubjectNames
from certrelay.pki.wording import listed

# 6.3.2: certificates issued from this day on are valid for at most so many days.
_VALIDITY = (
    (datetime(2029, 3, 15, tzinfo=UTC), 47),
    (datetime(2027, 3, 15, tzinfo=UTC), 100),
    (datetime(2026, 3, 15, tzinfo=UTC), 200),
    (datetime.min.replace(tzinfo=UTC), 398),
)


def name_faults(names: SubjectNames) -> Iterator[str]:
    """A sentence for each kind of names that public trust forbids: single labels, underscores (7.1.2.7.12), and
    addresses that are not public."""
    common = (names.common_name,) if names.common_name and "." in names.common_name else ()
    hosts = [name for name in dict.fromkeys((*names.dns_names, *common)) if not is_ip_address(name)]
    addresses = [one for one in names.ip_addresses if is_ip_address(one)]
    forbidden = {
        "are not below a top-level domain": [name for name in hosts if "." not in name.removeprefix("*.")],
        "have an underscore": [name for name in hosts if "_" in name],
        "are not public addresses": [one for one in addresses if not ipaddress.ip_address(one).is_global],
    }
    for what, those in forbidden.items():
        if those:
            yield f"public trust forbids names that {what}: {listed(those)}"


def certificate_faults(leaf: x509.Certificate) -> Iterator[str]:
    """Baseline Requirements 6.3.2, 7.1.2.7 and 7.1.4.3. The validity includes its last second."""
    begins = leaf.not_valid_before_utc
    days = next(days for since, days in _VALIDITY if begins >= since)
    if leaf.not_valid_after_utc - begins + timedelta(seconds=1) > timedelta(days=days):
        yield f"is valid for more than {days} days, the limit for publicly trusted certificates"
    yield from extensions.server_usage_faults(leaf)
    found = names_of(leaf)
    if not found.dns_names and not found.ip_addresses:
        yield "has no DNS name or IP address among its alternative names, which public trust needs"
    if found.common_name and found.common_name not in (*found.dns_names, *found.ip_addresses):
        yield f"has the common name {found.common_name!r}, which is not among its alternative names"
    yield from (f"has names that are not allowed: {fault}" for fault in name_faults(found))
