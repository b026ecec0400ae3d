"""A certificate authority of one's own: its key in Key Vault, its records in a storage account."""
