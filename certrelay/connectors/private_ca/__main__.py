"""`python3 dev.py private-ca`: create the certificate of a private CA in Key Vault."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from azure.keyvault.certificates import CertificateClient
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.private_ca.bootstrap import (
    KINDS,
    Authority,
    BootstrapError,
    bootstrap_root,
    merge_intermediate,
    request_intermediate,
)
from certrelay.connectors.private_ca.issuer import azure_failure
from certrelay.keyvault.remote_key import CLIENT_OPTIONS, vault_key


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "dev.py private-ca", description="Create a certificate authority whose key is in Key Vault."
    )
    parser.add_argument("--vault-url", required=True)
    parser.add_argument("--name", required=True, help="of the Key Vault certificate")
    parser.add_argument("--subject", required=True, help="for example: CN=Contoso Root, O=Contoso")
    parser.add_argument("--key", choices=KINDS, default="EC-384")
    parser.add_argument("--hsm", action="store_true", help="a key in an HSM (premium vaults)")
    parser.add_argument("--days", type=int, default=3650, help="validity of a root (default: %(default)s)")
    parser.add_argument("--path-length", type=int, help="how many levels of CAs may be below a root")
    parser.add_argument("--permitted-dns", action="append", default=[], help="name constraint of a root; repeatable")
    parser.add_argument("--intermediate", action="store_true", help="print a CSR for another authority")
    parser.add_argument("--answer", type=Path, help="merge this PEM file, signed by the other authority")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print the certificate, or an intermediate's CSR, as PEM. Returns 0, or 1 after a sentence on stderr."""
    given = _arguments(arguments)
    wanted = Authority(
        given.name,
        given.subject,
        given.key,
        given.hsm,
        timedelta(days=given.days),
        given.path_length,
        tuple(given.permitted_dns),
    )
    with DefaultAzureCredential() as credential:
        vault = CertificateClient(given.vault_url, credential, **CLIENT_OPTIONS)
        with vault:
            try:
                sys.stdout.write(_run(vault, credential, wanted, given.intermediate, given.answer))
            except (BootstrapError, AzureError, ValueError, OSError) as error:
                text = azure_failure(error) if isinstance(error, AzureError) else str(error)
                sys.stderr.write(f"{text}\n")
                return 1
    return 0


def _run(vault: CertificateClient, credential: Any, wanted: Authority, intermediate: bool, answer: Path | None) -> str:
    made: x509.Certificate | x509.CertificateSigningRequest
    if answer:
        made = merge_intermediate(vault, wanted, answer.read_bytes())
    elif intermediate:
        made = request_intermediate(vault, wanted)
    else:
        made = bootstrap_root(
            vault, lambda kid, public: vault_key(kid, public, credential, **CLIENT_OPTIONS), wanted, datetime.now(UTC)
        )
    return made.public_bytes(Encoding.PEM).decode()


if __name__ == "__main__":
    sys.exit(main())
