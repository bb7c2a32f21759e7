"""Reads the keys and certificates of signatures, so that each unusable file is an error of one line."""

from pathlib import Path

from compress.common.errors import UserError
from compress.reading.regular_files import read_bytes

MAX_PEM_BYTES = 2**20  # of a key, a certificate or a signature
CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those of model-signing
EXPECTED = "an EC key on the curve P-256, P-384 or P-521"


def require_private_key(path: Path, password: bytes | None) -> bytes | None:
    """Raise UserError if a file holds no private key that can sign. Returns the password if the key needs it."""
    from cryptography.hazmat.primitives import serialization

    content = read_pem(path)
    if b"PRIVATE KEY-----" not in content:
        raise UserError(f"{path}: got {_kind(content)}; expected a private key, {EXPECTED}, as a PEM file")
    try:
        key = serialization.load_pem_private_key(content, password)
    except TypeError as error:  # of the password
        if password is None:
            raise UserError(f"{path}: the key is encrypted, and no password was given", option="password") from error
        return require_private_key(path, None)
    except Exception as error:
        reason = "; is the password right?" if password is not None else ""
        raise UserError(
            f"{path}: the private key cannot be read{reason}; expected {EXPECTED}, as a PEM file"
        ) from error
    _require_curve(path, key)
    return password


def require_public_key(path: Path) -> None:
    """Raise UserError if a file holds no public key that can verify."""
    from cryptography.hazmat.primitives import serialization

    content = read_pem(path)
    if b"PUBLIC KEY-----" not in content:
        raise UserError(
            f"{path}: got {_kind(content)}; expected the public key of the signer, {EXPECTED}, as a PEM file"
        )
    try:
        key = serialization.load_pem_public_key(content)
    except Exception as error:
        raise UserError(f"{path}: the public key cannot be read; expected {EXPECTED}, as a PEM file") from error
    _require_curve(path, key)


def require_certificates(path: Path) -> None:
    """Raise UserError if a file holds no certificates."""
    from cryptography import x509

    content = read_pem(path)
    try:
        x509.load_pem_x509_certificates(content)
    except Exception as error:
        raise UserError(f"{path}: got {_kind(content)}; expected certificates as a PEM file") from error


def read_pem(path: Path) -> bytes:
    """The content of a small regular file. Raises UserError."""
    return read_bytes(path, most_bytes=MAX_PEM_BYTES, remedy="it is another file than meant")


def _require_curve(path: Path, key: object) -> None:
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve not in CURVES:
        kind = type(key).__name__.lstrip("_").removesuffix("PrivateKey").removesuffix("PublicKey")
        got = f"an {kind} key" if curve is None else f"an EC key on the curve {curve}"
        raise UserError(f"{path}: got {got}; expected {EXPECTED}")


def _kind(content: bytes) -> str:
    """What a file holds that is not what was expected."""
    for mark, kind in (
        (b"PRIVATE KEY-----", "a private key"),
        (b"PUBLIC KEY-----", "a public key"),
        (b"CERTIFICATE-----", "a certificate"),
    ):
        if mark in content:
            return kind
    return "another kind of file" if content else "an empty file"
