"""What CertRelay remembers, in tables, queues and blobs. The only room that knows the storage SDKs."""
