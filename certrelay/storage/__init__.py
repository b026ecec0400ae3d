"""CertRelay's state, in tables, queues and blobs. The only room that uses the storage SDKs."""
