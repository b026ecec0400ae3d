"""The requests of callers: create, import, adopt, edit, read and revoke certificates, and manage issuers."""
