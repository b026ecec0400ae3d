"""CertRelay's tags on a certificate in Key Vault: which authority renews it, when, and for how many days; and the
caller's tag that says where it is served.

The sweep reads them from the certificate list, so it costs only one request for each 25 certificates. No other module
knows their names. Others may write tags, too: a malformed one counts as absent.
"""

import re
from collections.abc import Mapping

from certrelay.errors import Fault

MAX_TAGS, MAX_TAG_LENGTH = 15, 256  # Key Vault's limits

_AUTHORITY, _THRESHOLD, _VALIDITY = "certrelay-authority", "certrelay-renewal", "certrelay-validity-days"
_OWN = (_AUTHORITY, _THRESHOLD, _VALIDITY)
ENDPOINT = "certrelay-endpoint"  # a caller sets it, like its own tags
_NUMBER = re.compile(r"[0-9]{1,5}")

type Tags = Mapping[str, str]


def authority_of(tags: Tags) -> str | None:
    """The authority that renews the certificate; None when CertRelay does not manage it."""
    return tags.get(_AUTHORITY)


def is_managed(tags: Tags) -> bool:
    """Whether CertRelay renews the certificate."""
    return _AUTHORITY in tags


def threshold_of(tags: Tags) -> tuple[str, int] | None:
    """When to renew: (`lifetime_percentage` or `days_before_expiry`, number); None for the default."""
    kind, _, number = tags.get(_THRESHOLD, "").partition("=")
    known = kind in ("lifetime_percentage", "days_before_expiry") and _NUMBER.fullmatch(number)
    return (kind, int(number)) if known else None


def validity_days_of(tags: Tags) -> int | None:
    """The validity, in days, to request at a renewal; None if the tags do not say."""
    written = tags.get(_VALIDITY, "")
    return int(written) or None if _NUMBER.fullmatch(written) else None


def endpoint_of(tags: Tags) -> str | None:
    """Where the certificate is served (`HOST:PORT`), as somebody wrote it; None if the tags do not say."""
    return tags.get(ENDPOINT)


def managed_tags(authority: str, days: int, trigger: Mapping[str, int] | None) -> dict[str, str]:
    """CertRelay's tags for a certificate that `authority` renews with a validity of `days`.

    `trigger`: as in a lifetime action; None for the default."""
    return {_AUTHORITY: authority, **validity_tag(days), **threshold_tag(trigger)}


def threshold_tag(trigger: Mapping[str, int] | None) -> dict[str, str]:
    """The tag for the trigger of a lifetime action; an empty dict without one."""
    return {_THRESHOLD: ",".join(f"{key}={value}" for key, value in trigger.items())} if trigger else {}


def validity_tag(days: int) -> dict[str, str]:
    """The tag for the validity in days."""
    return {_VALIDITY: str(days)}


def certrelay_tags(tags: Tags) -> dict[str, str]:
    """CertRelay's tags only."""
    return {key: value for key, value in tags.items() if key in _OWN}


def caller_tags(tags: Tags) -> dict[str, str]:
    """All tags except CertRelay's."""
    return {key: value for key, value in tags.items() if key not in _OWN}


def tags_of_renewal(requested: Tags, newest: Tags) -> dict[str, str]:
    """The tags of a renewed version: those of the newest version now, with the requested authority.

    They may have changed since the request. If the certificate was released meanwhile, CertRelay's are left out."""
    if _AUTHORITY not in newest:
        return caller_tags(newest)
    return {**certrelay_tags(requested), **newest, _AUTHORITY: requested[_AUTHORITY]}


def tag_pointer(key: str) -> str:
    """The JSON pointer (RFC 6901) to a tag in a request."""
    return "/tags/" + key.replace("~", "~0").replace("/", "~1")


def check_tags(tags: Tags, faults: list[Fault]) -> None:
    """Append a fault for each of a caller's tags that exceeds Key Vault's limits or has the name of a CertRelay tag."""
    if len({*tags, *_OWN}) > MAX_TAGS:
        text = f"at most {MAX_TAGS - len(_OWN)} tags are allowed, since CertRelay needs {len(_OWN)}"
        faults.append(Fault("/tags", text))
    for key, value in tags.items():
        pointer = tag_pointer(key)
        if not key or len(key) > MAX_TAG_LENGTH or len(value) > MAX_TAG_LENGTH:
            faults.append(Fault(pointer, f"a tag's name and value may have at most {MAX_TAG_LENGTH} characters"))
        if key in _OWN:
            faults.append(Fault(pointer, "is a tag that CertRelay sets; leave it out"))
