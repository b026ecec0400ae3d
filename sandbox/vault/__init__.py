"""A local stand-in for Azure Key Vault certificates: use `VaultServer`, or run `python -m sandbox.vault`."""

from sandbox.vault.server import VaultServer
from sandbox.vault.vault import Settings

__all__ = ["Settings", "VaultServer"]
