"""Blobs that are written once or under an ETag, which is all that an authority's records need.

https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
"""

from collections.abc import Iterator, Mapping
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient, ContentSettings, ExponentialRetry

CONNECT_SECONDS, READ_SECONDS = 5, 20


class Changed(Exception):
    """Somebody else has written the blob in the meantime."""


class BlobStore:
    """One container. Errors of the network and of storage are azure.core.exceptions.AzureError."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def check(self) -> None:
        """One request that proves that the container is there and readable."""
        self._container.get_container_properties()

    def read(self, name: str) -> tuple[bytes, str] | None:
        """A blob and its ETag; None when there is none."""
        try:
            answer = self._container.download_blob(name)
            return answer.readall(), str(answer.properties.etag)
        except ResourceNotFoundError as error:
            if error.error_code == "ContainerNotFound":  # type: ignore[attr-defined]
                raise
            return None

    def create(self, name: str, content: bytes, content_type: str, metadata: Mapping[str, str] | None = None) -> bool:
        """Whether this call made the blob; one that exists is left as it is."""
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
        """Write a blob that is unchanged since `etag`, or not there when that is None. Raises Changed."""
        guard: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        settings = ContentSettings(content_type=content_type, cache_control=f"max-age={max_age}")
        try:
            self._container.upload_blob(
                name, content, overwrite=etag is not None, content_settings=settings, **(guard if etag else {})
            )
        except (ResourceExistsError, ResourceModifiedError) as error:
            raise Changed(name) from error

    def list(self, prefix: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Names and metadata of the blobs below a prefix, page after page."""
        for blob in self._container.list_blobs(name_starts_with=prefix, include=["metadata"]):
            yield str(blob.name), dict(blob.metadata or {})


def open_container(name: str, account_url: str | None, connection_string: str | None, credential: Any) -> BlobStore:
    """A container of an account: by connection string, else by URL with an Azure credential. No request is made."""
    options: dict[str, Any] = {
        "retry_policy": ExponentialRetry(initial_backoff=0, increment_base=1, retry_total=2, random_jitter_range=0),
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
    }
    if connection_string:
        return BlobStore(ContainerClient.from_connection_string(connection_string, name, **options))
    return BlobStore(ContainerClient(str(account_url), name, credential=credential, **options))
