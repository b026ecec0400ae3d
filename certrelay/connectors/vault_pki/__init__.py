"""The PKI secrets engine of OpenBao and HashiCorp Vault."""
