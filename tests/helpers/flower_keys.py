"""Certificates and keys of a federation in a folder: a CA, the SuperLink's certificate, a key for each SuperNode."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Private = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Keys:
    """Where they lie."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def link(self) -> list[str]:
        """What a SuperLink is given."""
        names = {"--ssl-ca-certfile": self.ca, "--ssl-certfile": self.folder / "link.pem"}
        names["--ssl-keyfile"] = self.folder / "link.key"
        return [str(word) for pair in names.items() for word in pair] + ["--enable-supernode-auth"]

    def node(self, i: int) -> list[str]:
        """What a SuperNode is given."""
        return ["--root-certificates", str(self.ca), "--auth-supernode-private-key", str(self.folder / f"node{i}")]

    def public(self, i: int) -> Path:
        """The key by which a SuperNode is registered."""
        return self.folder / f"node{i}.pub"


def made(folder: Path, nodes: int) -> Keys:
    """New ones for 127.0.0.1."""
    folder.mkdir()
    authority, link = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    _write(folder / "ca.crt", _certificate("test CA", authority, authority, True))
    _write(folder / "link.pem", _certificate("127.0.0.1", link, authority, False))
    _write(folder / "link.key", _private(link, serialization.PrivateFormat.PKCS8))
    for i in range(nodes):
        key = ec.generate_private_key(ec.SECP384R1())
        _write(folder / f"node{i}", _private(key, serialization.PrivateFormat.OpenSSH))
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        _write(folder / f"node{i}.pub", public)
    return Keys(folder)


def _write(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    place.chmod(0o600)


def _private(key: Private, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _certificate(name: str, key: Private, authority: Private, is_authority: bool) -> bytes:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name)).issuer_name(called("test CA")).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )  # fmt: skip
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)
