"""Signs bundles, and verifies signatures, in the format of OpenSSF Model Signing.

A signature covers the names and hashes of all files of a bundle: the listed ones, SHA256SUMS and the model card. It is
a file of its own: `.model.sig` in the bundle, which check_files knows, or any file outside.
"""

import base64
import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compress.common.errors import UserError, library_errors
from compress.common.files import replacing, sha256
from compress.reading.regular_files import problem_of
from export.bundle.bundle_json import bundle_errors
from export.bundle.listed_files import CARD, SIGNATURE, SUMS_FILE, check_files, read_sums, require_bundle
from export.provenance.keys import read_pem, require_certificates, require_private_key, require_public_key

# what hubs and version control add to a bundle: recorded in a signature, so that other verifiers ignore them too
ADDED_BY_HUBS = (".cache", ".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)


@dataclass(frozen=True, kw_only=True)
class PrivateKey:
    """Signs with an EC key in a PEM file. `certificate`: of the key; `chain`: those between it and its root."""

    key: Path
    password: bytes | None = None
    certificate: Path | None = None
    chain: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Keyless:
    """Signs with an identity that Sigstore certifies: of a CI job, or of a person in a browser if `interactive`."""

    interactive: bool


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """Trusts the signer who has the private key to this public key, a PEM file."""

    key: Path


@dataclass(frozen=True, kw_only=True)
class RootCertificates:
    """Trusts signers whose certificate was issued by one of these, PEM files."""

    files: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Trusts a signer whose identity, such as an e-mail address, was certified by Sigstore for this issuer's URL."""

    identity: str
    issuer: str


def sign_bundle(folder: Path, signer: PrivateKey | Keyless, signature: Path | None = None) -> Path:
    """Sign a bundle. Returns the path of the signature: by default `.model.sig` in the bundle.

    Overwrites no file. Raises UserError if the bundle is damaged, or if it cannot be signed.
    """
    names = signed_files(folder)
    path = folder / SIGNATURE if signature is None else signature
    root, place = Path(os.path.realpath(folder)), Path(os.path.realpath(path.parent))
    if place.is_relative_to(root) and place / path.name != root / SIGNATURE:
        raise UserError(f"{path}: in the bundle, where only {SIGNATURE} may be; name a file outside of it")
    if os.path.lexists(path):
        raise UserError(f"{path}: already exists; remove it to sign again")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder")
    for name in names:
        if (folder / name).is_symlink():
            raise UserError(f"{folder / name}: a link; sign a copy of the bundle that has the files themselves")
    config = _signing_config(signer)
    with (
        replacing(path) as partial,
        library_errors(f"{folder}: cannot be signed"),
        contextlib.redirect_stdout(sys.stderr),
    ):
        config.set_hashing_config(_hashing_config(names, ignored=ADDED_BY_HUBS, allow_links=False))
        config.sign(root, partial)
    return path


def verify_signature(
    folder: Path, trusted: PublicKey | RootCertificates | Identity, signature: Path | None = None
) -> Path:
    """Check that a trusted signer has signed exactly the files of a bundle. Returns the path of the signature.

    The card counts too. Compiled Python is refused, because Python runs it in place of predict.py. Raises UserError.
    """
    names = signed_files(folder)
    path = signature_of(folder) if signature is None else signature
    content = read_pem(path)
    config = _verifying_config(trusted)
    with (
        TemporaryDirectory() as place,
        library_errors(f"{path}: not a valid signature of {folder} by this signer"),
        contextlib.redirect_stdout(io.StringIO()),  # a remark on signatures of old versions
    ):
        copy = Path(place) / "signature"  # the same bytes, whatever happens to the file meanwhile
        copy.write_bytes(content)
        config.set_hashing_config(_hashing_config(names, ignored=(), allow_links=True))
        config.verify(Path(os.path.realpath(folder)), copy)
    return path


def signed_files(folder: Path) -> list[str]:
    """The names of all files of a bundle. Raises UserError if there are other files that a program would read."""
    with bundle_errors():
        require_bundle(folder)
        check_files(folder)
        names = {*read_sums(folder), SUMS_FILE}
    if os.path.lexists(folder / "__pycache__"):
        raise UserError(f"{folder / '__pycache__'}: Python may run it in place of predict.py; remove it")
    if problem_of(folder / CARD) is not None:
        raise UserError(f"{folder / CARD}: the model card is missing; copy or export the bundle again")
    return sorted({*names, CARD})


def require_current(folder: Path) -> None:
    """Raise UserError if a bundle's own signature is not of its present files. This does not show who signed."""
    path = folder / SIGNATURE
    content = read_pem(path)
    with library_errors(f"{path}: not a signature"):
        payload = json.loads(base64.b64decode(json.loads(content)["dsseEnvelope"]["payload"]))
        signed = {each["name"]: each["digest"] for each in payload["predicate"]["resources"]}
    if signed != {name: sha256(folder / name) for name in signed_files(folder)}:
        raise UserError(f"{path}: the signature of other files, or of another bundle; remove it, and sign again")


def signature_of(folder: Path) -> Path:
    """The path of a bundle's own signature. Raises UserError if it has none."""
    path = folder / SIGNATURE
    if not os.path.lexists(path):
        raise UserError(f"{folder}: the bundle has no signature, {SIGNATURE}", option="signature")
    return path


def _signing_config(signer: PrivateKey | Keyless) -> Any:
    from model_signing import signing

    config = signing.Config()
    if isinstance(signer, Keyless):
        return _keyless_config(config, signer)
    password: Any = require_private_key(signer.key, signer.password)  # annotated as str there, but has to be bytes
    if signer.certificate is None:
        with library_errors(f"{signer.key}: cannot sign"):
            return config.use_elliptic_key_signer(private_key=signer.key, password=password)
    if password is not None:
        raise UserError(f"{signer.key}: the key is encrypted; a key with a certificate must not be")
    for file in (signer.certificate, *signer.chain):
        require_certificates(file)
    with library_errors(f"{signer.certificate}: cannot sign with {signer.key}"):
        return config.use_certificate_signer(
            private_key=signer.key,
            signing_certificate=signer.certificate,
            certificate_chain=signer.chain or [signer.certificate],  # an empty chain would be an error
        )


def _keyless_config(config: Any, signer: Keyless) -> Any:
    from sigstore.oidc import detect_credential

    with library_errors("Sigstore: no identity"):
        token = detect_credential()
    if token is None and not signer.interactive:
        raise UserError(
            "Sigstore: no identity; expected a CI job that has one (GitHub, GitLab, Google Cloud, Buildkite, CircleCI) "
            "or a terminal, in which you log in with a browser"
        )
    with library_errors("Sigstore cannot be used"):
        return config.use_sigstore_signer(identity_token=token)


def _verifying_config(trusted: PublicKey | RootCertificates | Identity) -> Any:
    from model_signing import verifying

    logging.getLogger("model_signing").setLevel(logging.ERROR)  # its warnings precede errors that say the same
    config = verifying.Config()
    match trusted:
        case PublicKey():
            require_public_key(trusted.key)
            with library_errors(f"{trusted.key}: cannot verify"):
                return config.use_elliptic_key_verifier(public_key=trusted.key)
        case RootCertificates():
            for file in trusted.files:
                require_certificates(file)
            with library_errors(f"{trusted.files[0]}: cannot verify"):
                return config.use_certificate_verifier(certificate_chain=trusted.files)
    with library_errors("Sigstore cannot be used"):
        return config.use_sigstore_verifier(identity=trusted.identity, oidc_issuer=trusted.issuer)


def _hashing_config(names: Sequence[str], *, ignored: Sequence[str], allow_links: bool) -> Any:
    """Hash exactly these files. What a signature itself says about files to ignore has no effect.

    `ignored`: recorded in a new signature for other verifiers. `allow_links`: those of the Hub's cache.
    """
    from model_signing import hashing

    class Config(hashing.Config):
        def hash(self, model_path: Any, *, files_to_hash: Iterable[Any] | None = None) -> Any:
            return super().hash(model_path, files_to_hash=[Path(model_path) / name for name in names])

        def add_ignored_paths(self, *, model_path: Any, paths: Iterable[Any]) -> None:
            pass

    config = Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)
    return config.set_allow_symlinks(allow_links)
