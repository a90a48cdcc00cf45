"""What a workload's certificate says, and what is left of the authority."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from chain import topology
from mesh.identities import Authority, Files, write


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identities")
    write(Authority(), path, *topology.DEFAULT.identities)
    return path


def certificate(directory: Path, account: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(Files.of(directory, account).certificate).read_bytes())


def names(found: x509.Certificate) -> x509.SubjectAlternativeName:
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


@pytest.mark.parametrize("account", topology.DEFAULT.identities)
def test_a_certificate_holds_one_uri_the_spiffe_id(directory: Path, account: str) -> None:
    uris = names(certificate(directory, account)).get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"spiffe://cluster.local/ns/grpc-tracing/sa/{account}"]


@pytest.mark.parametrize("account", topology.DEFAULT.identities)
def test_a_certificate_serves_both_ends_and_signs_no_other(directory: Path, account: str) -> None:
    extensions = certificate(directory, account).extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_keys_are_p256(directory: Path) -> None:
    key = certificate(directory, "svc1").public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_a_service_answers_to_the_name_that_clients_without_spiffe_check(directory: Path) -> None:
    assert "grpc-server-svc2" in names(certificate(directory, "svc2")).get_values_for_type(x509.DNSName)


def verify(directory: Path, authority: bytes) -> None:
    store = Store([x509.load_pem_x509_certificate(authority)])
    PolicyBuilder().store(store).build_client_verifier().verify(certificate(directory, "svc1"), [])


def test_only_the_authority_that_issued_a_certificate_vouches_for_it(directory: Path) -> None:
    verify(directory, Path(Files.of(directory, "svc1").ca).read_bytes())
    with pytest.raises(VerificationError):
        verify(directory, Authority().certificate)


def test_files_are_the_owners_alone_and_the_authoritys_key_is_none_of_them(directory: Path) -> None:
    found = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    expected = {f"{account}.{kind}" for account in topology.DEFAULT.identities for kind in ("pem", "key")} | {"ca.pem"}
    assert found == dict.fromkeys(expected, 0o600)
