"""Key Vault: its REST API in its own JSON, its policies, and the tags that CertRelay keeps there."""
