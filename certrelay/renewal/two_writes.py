"""Change the tags and the policy of a certificate in Key Vault, which takes two writes, as if it took one.

The change is recorded first. If the worker dies in between, the next sweep or renewal finds the record and finishes it.
If Key Vault refuses the second write, the first one is undone.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from certrelay.errors import CertRelayError, Invalid, NotReady
from certrelay.keyvault.certificate import item_of
from certrelay.keyvault.tags import authority_of, caller_tags, certrelay_tags
from certrelay.log import about, logger
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

MAX_CHANGE = 30_000  # characters; a text column holds 32 Ki

log = logger("renewal")

type Json = dict[str, Any]


def write(services: Services, vault: str, bundle: Json, tags: Mapping[str, str], changes: Json) -> tuple[Json, Json]:
    """Write the tags and merge `changes` into the policy of the certificate of a CertificateBundle.

    `tags` are all tags. Everything was checked before, and an earlier change was finished. Returns Key Vault's
    CertificateBundle and policy. Raises Invalid (too large to be recorded), what Key Vault refuses, NotReady."""
    item, renewals = item_of(bundle), services.storage.renewals
    known = renewals.record(vault, item.name)
    record = replace(known.about(item.thumbprint), unfinished="")
    text = json.dumps({"tags": certrelay_tags(tags), "policy": changes})
    if len(text) > MAX_CHANGE:
        raise Invalid("the change is too large to be recorded; make it in several steps")
    recorded = replace(record, unfinished=text)
    renewals.save(recorded, known)
    renewals.note_change(vault, services.now())
    client, name = services.vault(vault), item.name
    try:
        written = client.call("PATCH", f"/certificates/{name}", {"tags": dict(tags)})
        policy = client.call("PATCH", f"/certificates/{name}/policy", changes)
    except NotReady:  # perhaps only the response was lost
        raise
    except CertRelayError:
        with suppress(CertRelayError):  # whatever comes of it, what was refused is told
            client.call("PATCH", f"/certificates/{name}", {"tags": dict(bundle.get("tags") or {})})
            renewals.save(record, recorded)
        raise
    renewals.save(record, recorded)
    return written, policy


def finish_earlier(services: Services, vault: str, bundle: Json) -> bool:
    """Finish an earlier change of this certificate that was cut off; returns whether there was one. Raises NotReady."""
    item = item_of(bundle)
    record = services.storage.renewals.record(vault, item.name).about(item.thumbprint)
    return finish(services, record, bundle.get("tags") or {}) != record


def finish(services: Services, record: RenewalRecord, tags: Mapping[str, str]) -> RenewalRecord:
    """Finish a change that was cut off, if the record has one; returns the record without it.

    `tags`: the newest version's. An adoption that was cut off before its first write is forgotten, and so is a change
    that cannot be read, or that Key Vault refuses. Raises NotReady."""
    if not record.unfinished:
        return record
    with about(vault=record.vault, certificate=record.name):
        try:
            change = json.loads(record.unfinished)
            if authority_of(change["tags"]) == authority_of(tags):
                client, name = services.vault(record.vault), record.name
                client.call("PATCH", f"/certificates/{name}", {"tags": caller_tags(tags) | change["tags"]})
                client.call("PATCH", f"/certificates/{name}/policy", change["policy"])
                log.warning("finished a change of tags and policy that was cut off")
        except NotReady:
            raise
        except (CertRelayError, LookupError, ValueError, TypeError, AttributeError) as error:
            log.error("a change of tags and policy was cut off and cannot be finished (%s)", error)
    finished = replace(record, unfinished="")
    services.storage.renewals.save(finished, record)
    return finished
