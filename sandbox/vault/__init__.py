"""A local stand-in for Azure Key Vault certificates: use `VaultServer`, or `python3 dev.py vault`."""

from sandbox.vault.server import VaultServer
from sandbox.vault.vault import Settings

__all__ = ["Settings", "VaultServer"]
