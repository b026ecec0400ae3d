"""CertRelay: certificate lifecycle for Azure Key Vault with any certificate authority."""
