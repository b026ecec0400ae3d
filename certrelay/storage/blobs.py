"""Blobs for the records of an authority: created once, or replaced only if their ETag matches.

https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
"""

from collections.abc import Iterator, Mapping
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient, ContentSettings, ExponentialRetry

CONNECT_SECONDS, READ_SECONDS = 5, 20


class Changed(Exception):
    """Another writer has changed the blob meanwhile."""


class BlobStore:
    """One container. All methods raise azure.core.exceptions.AzureError when the network or storage fails."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def check(self) -> None:
        """Send one request that proves that the container exists and is readable."""
        self._container.get_container_properties()

    def read(self, name: str) -> tuple[bytes, str] | None:
        """The content and the ETag of a blob; None if it does not exist."""
        try:
            blob = self._container.download_blob(name)
            return blob.readall(), str(blob.properties.etag)
        except ResourceNotFoundError as error:
            if error.error_code == "ContainerNotFound":  # type: ignore[attr-defined]
                raise
            return None

    def create(self, name: str, content: bytes, content_type: str, metadata: Mapping[str, str] | None = None) -> bool:
        """Create a blob. Returns False, and changes nothing, if it exists."""
        try:
            self._container.upload_blob(
                name,
                content,
                overwrite=False,
                metadata=dict(metadata or {}),
                content_settings=ContentSettings(content_type=content_type),
            )
            return True
        except ResourceExistsError:
            return False

    def replace(self, name: str, content: bytes, content_type: str, etag: str | None, max_age: int) -> None:
        """Replace the blob that has this `etag`, or create it if `etag` is None. Raises Changed.

        `max_age`: of its Cache-Control header, in seconds."""
        condition: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        settings = ContentSettings(content_type=content_type, cache_control=f"max-age={max_age}")
        try:
            self._container.upload_blob(
                name, content, overwrite=etag is not None, content_settings=settings, **(condition if etag else {})
            )
        except (ResourceExistsError, ResourceModifiedError) as error:
            raise Changed(name) from error

    def list(self, prefix: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The names and metadata of the blobs whose names start with `prefix`; pages are fetched as needed."""
        for blob in self._container.list_blobs(name_starts_with=prefix, include=["metadata"]):
            yield str(blob.name), dict(blob.metadata or {})


def open_container(name: str, account_url: str | None, connection_string: str | None, credential: Any) -> BlobStore:
    """A container, by connection string or by account URL and Azure credential. Sends no request."""
    options: dict[str, Any] = {
        "retry_policy": ExponentialRetry(initial_backoff=0, increment_base=1, retry_total=2, random_jitter_range=0),
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
    }
    if connection_string:
        return BlobStore(ContainerClient.from_connection_string(connection_string, name, **options))
    return BlobStore(ContainerClient(str(account_url), name, credential=credential, **options))
