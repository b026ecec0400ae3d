"""ACME (RFC 8555): modules are named by the nouns of the RFC."""
