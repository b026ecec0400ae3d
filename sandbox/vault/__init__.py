"""A stand-in for Azure Key Vault's certificates: `VaultServer`, or `python -m sandbox.vault`."""

from sandbox.vault.server import VaultServer
from sandbox.vault.vault import Settings

__all__ = ["Settings", "VaultServer"]
