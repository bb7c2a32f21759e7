"""Keys and certificates for signatures, as PEM files."""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID


def write_key_pair(
    folder: Path, name: str = "key", *, key: Any = None, password: bytes | None = None
) -> tuple[Path, Path]:
    """The paths of a private and a public key. `key`: by default a new one on the curve P-256."""
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def write_certificates(folder: Path, name: str = "signer", *, can_sign: bool = True) -> tuple[Path, Path, Path]:
    """The paths of a private key, its certificate, and the root certificate that issued it."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate(f"{name}'s root", root_key, f"{name}'s root", root_key, is_root=True)
    leaf = certificate(name, key, f"{name}'s root", root_key, can_sign=can_sign)
    private, _ = write_key_pair(folder, name, key=key)
    paths = private, folder / f"{name}.crt", folder / f"{name}-root.crt"
    paths[1].write_bytes(leaf.public_bytes(Encoding.PEM))
    paths[2].write_bytes(root.public_bytes(Encoding.PEM))
    return paths


def certificate(
    subject: str, key: Any, issuer: str, issuer_key: Any, *, is_root: bool = False, can_sign: bool = True
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=can_sign and not is_root, key_cert_sign=is_root, crl_sign=is_root, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=not can_sign, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=30)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
    return builder.add_extension(usage, critical=True).sign(issuer_key, hashes.SHA256())
