"""Certificates: create, import, get, list, update, and their policies."""

from dataclasses import replace
from typing import Any

from sandbox.vault import imports, lifecycle, render
from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import certificate_not_found, pending_in_progress
from sandbox.vault.model import Certificate, Version
from sandbox.vault.policy import complete, merged


def create(call: Call) -> Answer:
    """CreateCertificate."""
    vault, tags, enabled = call.vault, call.tags(), call.enabled()
    preserve = call.flag("preserveCertOrder")
    raw = call.body.get("policy")
    sent = None if raw is None else call.read_policy(raw)
    existing = _writable(call)
    policy = _create_policy(call, sent, existing)
    key = lifecycle.make_key(vault, policy, existing)  # slow, hence before the lock
    with vault.lock:
        existing = _writable(call)
        version = lifecycle.NextVersion(policy, key, tags, enabled is not False, preserve)
        certificate = vault.save(lifecycle.start(vault, call.name, existing, version))
    assert certificate.pending
    url = render.certificate_url(call, certificate, "pending")
    location = f"{url}?api-version={call.api_version}&request_id={certificate.pending.request_id}"
    return Answer(
        render.operation(call, certificate, certificate.pending), 202, {"Location": location, "Retry-After": "10"}
    )


def _create_policy(call: Call, sent: dict[str, Any] | None, existing: Certificate | None) -> dict[str, Any]:
    now = call.vault.now()
    created = existing.policy["attributes"]["created"] if existing else None
    policy = complete(sent or {}, now, created) if sent is not None or not existing else dict(existing.policy)
    lifecycle.canonical_issuer(call.vault, policy)
    return policy


def _writable(call: Call) -> Certificate | None:
    """The certificate of this name, or None. Raises 409 if it cannot get a new version now."""
    existing = call.free_name()
    if existing and existing.pending and existing.pending.status == "inProgress":
        raise pending_in_progress()
    return existing


def import_(call: Call) -> Answer:
    """ImportCertificate."""
    vault = call.vault
    incoming = imports.read_import(call)
    with vault.lock:
        existing = _writable(call)
        certificate = imports.stored(call, incoming, existing)
    return Answer(render.bundle(call, certificate))


def get(call: Call) -> Answer:
    """GetCertificate: the current version, or the one in the path."""
    certificate = call.certificate()
    identifier = call.params.get("version")
    if not identifier:
        return Answer(render.bundle(call, certificate))
    return Answer(render.version_bundle(call, certificate, _version(certificate, identifier)))


def _version(certificate: Certificate, identifier: str) -> Version:
    version = certificate.version(identifier)
    if version is None:
        raise certificate_not_found(certificate.name, identifier)
    return version


def list_all(call: Call) -> Answer:
    """GetCertificates."""
    index = call.vault.live if include_pending(call) else call.vault.completed

    def fetch(after: str, count: int) -> list[tuple[str, Certificate]]:
        with call.vault.lock:
            keys = index.page(after, count)
            return [(key, found) for key in keys if (found := call.vault.find(key))]

    return render.page(
        call, "/certificates", fetch, lambda found: render.live_item(call, found, found.current, versioned=False)
    )


def include_pending(call: Call) -> bool:
    """The query parameter `includePending`."""
    return call.query.get("includepending", "").lower() == "true"


def list_versions(call: Call) -> Answer:
    """GetCertificateVersions: the completed ones, ordered by id; none for a name that is not there (recorded)."""
    certificate = call.live()
    if certificate is None:
        return Answer({"value": [], "nextLink": None})
    versions = sorted((version.id, version) for version in certificate.versions if version.certificate)

    def fetch(after: str, count: int) -> list[tuple[str, Version]]:
        return [pair for pair in versions if pair[0] > after][:count]

    path = f"/certificates/{certificate.name}/versions"
    return render.page(call, path, fetch, lambda version: render.live_item(call, certificate, version, versioned=True))


def update(call: Call) -> Answer:
    """UpdateCertificate: `enabled` and tags of a version; the tags replace the old ones."""
    tags, enabled = call.tags(), call.enabled()
    raw = call.body.get("policy")
    policy = None if raw is None else call.read_policy(raw)
    identifier = call.params.get("version")
    with call.vault.lock:
        certificate = call.certificate()
        version = _version(certificate, identifier) if identifier else certificate.current
        changed = replace(
            version,
            tags=version.tags if tags is None else tags,
            enabled=version.enabled if enabled is None or not version.certificate else enabled,
            updated=max(call.vault.now(), version.updated + 1),  # never the same value twice
        )
        certificate = lifecycle.with_version(certificate, changed)
        if policy is not None:
            certificate = _with_policy(call, certificate, policy)
        call.vault.save(certificate)
    shown = render.version_bundle(call, certificate, changed) if identifier else render.bundle(call, certificate)
    return Answer(shown)


def get_policy(call: Call) -> Answer:
    """GetCertificatePolicy."""
    return Answer(render.policy(call, call.certificate()))


def update_policy(call: Call) -> Answer:
    """UpdateCertificatePolicy: a deep merge into the stored policy, which the next version uses."""
    change = call.read_policy(call.body)
    with call.vault.lock:
        certificate = call.vault.save(_with_policy(call, call.certificate(), change))
    return Answer(render.policy(call, certificate))


def _with_policy(call: Call, certificate: Certificate, change: dict[str, Any]) -> Certificate:
    policy = merged(certificate.policy, change, call.vault.now())
    lifecycle.canonical_issuer(call.vault, policy)
    if policy["lifetime_actions"] != certificate.policy["lifetime_actions"]:
        # A changed lifetime action takes effect at once, for the current version too.
        certificate = lifecycle.with_version(certificate, replace(certificate.current, lifetime_action_done=False))
    return replace(certificate, policy=policy)
