"""A certificate authority for the broker and database of one stack; created and removed with the stack."""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST_NAME, HOST_ADDRESS = "localhost", "127.0.0.1"
VALID_DAYS = 3_650


class Issued(NamedTuple):
    """PEM files of a certificate and its private key (PKCS 8, mode 0600)."""

    certificate: Path
    key: Path


class CertificateAuthority:
    """An authority in a folder; ``ca.pem`` is for clients. Its private key only signs at creation and is not kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def certificate(self) -> Path:
        """The PEM file with which clients verify servers."""
        return self.folder / "ca.pem"

    def create(self, *server_names: str) -> None:
        """Create the authority and, for each server name, a certificate for that name and for this machine."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority_name = _common_name("moderated-grading local stack")
        authority = (
            _builder(authority_name, authority_name, authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        self.certificate.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        for name in server_names:
            key = ec.generate_private_key(ec.SECP256R1())
            hosts = x509.SubjectAlternativeName(
                [x509.DNSName(name), x509.DNSName(HOST_NAME), x509.IPAddress(ip_address(HOST_ADDRESS))]
            )
            issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
            certificate = (
                _builder(_common_name(name), authority_name, key)
                .add_extension(hosts, critical=False)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(issuer_key, critical=False)
                .add_extension(_key_usage(signs_certificates=False), critical=True)
                .sign(authority_key, hashes.SHA256())
            )
            issued = self.issued(name)
            issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            write_secret(
                issued.key,
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ).decode(),
            )

    def issued(self, server_name: str) -> Issued:
        """Return the files of a server."""
        return Issued(self.folder / f"{server_name}.pem", self.folder / f"{server_name}.key")


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read at any time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
