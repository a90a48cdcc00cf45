"""Workload identities: SPIFFE certificates from a certificate authority that exists only while they are made.

The authority's key is never written down: nobody can issue a further identity afterwards.
Form of a certificate: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chain import topology

VALID_FOR = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Files:
    """Where a workload finds its identity, and the authority that it trusts."""

    certificate: str
    key: str
    ca: str

    @classmethod
    def of(cls, directory: Path, account: str) -> Self:
        return cls(
            certificate=str(directory / f"{account}.pem"),
            key=str(directory / f"{account}.key"),
            ca=str(directory / "ca.pem"),
        )


class Authority:
    """A certificate authority for one trust domain; its key lives in memory only."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._own_certificate()

    @property
    def certificate(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, account: str) -> Identity:
        """An identity for a service account of our namespace, good for both ends of a connection."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(account, key.public_key(), issuer=self._certificate.subject)
            .add_extension(_alternative_names(account), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(_both_ends(), critical=False)
            .add_extension(_signed_by(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Identity(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))

    def _own_certificate(self) -> x509.Certificate:
        public = self._key.public_key()
        name = f"{topology.TRUST_DOMAIN} local authority"
        return (
            _builder(name, public, issuer=_name(name))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(key_cert_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def write(authority: Authority, directory: Path, *accounts: str) -> None:
    """Put the authority's certificate and an identity for each account into an existing directory: see Files."""
    _write_private(directory / "ca.pem", authority.certificate)
    for account in accounts:
        identity = authority.issue(account)
        files = Files.of(directory, account)
        _write_private(Path(files.certificate), identity.certificate)
        _write_private(Path(files.key), identity.key)


def _builder(common_name: str, key: ec.EllipticCurvePublicKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALID_FOR)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(account: str) -> x509.SubjectAlternativeName:
    # Exactly one URI, as SPIFFE wants it; the DNS names serve plain gRPC clients, which check nothing else.
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(topology.spiffe_id(account))]
    if account not in (topology.INGRESS, topology.CLIENT):
        names += [x509.DNSName(name) for name in topology.host_names(account)]
    return x509.SubjectAlternativeName(names)


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _both_ends() -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


def _signed_by(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    """Readable by the owner alone from the first moment on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
