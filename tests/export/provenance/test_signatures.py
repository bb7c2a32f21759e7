"""Signatures: which bundles they hold for, and what is refused in one line."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_signing
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from compress.common.extras import install_command
from export.bundle.folder import seal
from export.provenance.signatures import PrivateKey, PublicKey, sign_bundle, verify_signature
from pocketbert.cli import app
from signing_keys import write_certificates, write_key_pair
from tiny_bundles import build_fp32_bundle

SIG = ".model.sig"
Keys = tuple[Path, Path]


@pytest.fixture(scope="module")
def original(tmp_path_factory, teacher_folder, reviews) -> Path:
    return build_fp32_bundle(tmp_path_factory.mktemp("signed"), teacher_folder, reviews, ["text"])


@pytest.fixture
def bundle(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "fp32")


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return write_key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signed(bundle, keys) -> Path:
    sign_bundle(bundle, PrivateKey(key=keys[0]))
    return bundle


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Runs a command that must fail with one line and exit code 2. Returns the line."""

    def call(*words: object) -> str:
        assert app.main([str(word) for word in words]) == 2
        output = capsys.readouterr()
        assert output.err.startswith("error: ") and output.err.count("\n") == 1 and not output.out, output
        return output.err

    return call


def test_a_signed_bundle_verifies_wherever_it_is_and_its_predict_py_runs(signed, keys, tmp_path, capsys):
    moved = shutil.move(signed, tmp_path / "another name; rm -rf ~")
    (tmp_path / "link").symlink_to(moved)
    for name in (".gitattributes", ".DS_Store"):
        (moved / name).write_text("added by a hub and a system")
    for folder in (moved, tmp_path / "link"):
        assert app.main(["verify", str(folder), "--key", str(keys[1])]) == 0
        assert "valid; the signer has signed exactly these files" in capsys.readouterr().out
    done = subprocess.run([sys.executable, moved / "predict.py", "fine"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and '"label"' in done.stdout


def test_without_a_key_the_signature_is_not_counted_as_checked(signed, keys, capsys):
    assert app.main(["verify", str(signed)]) == 0
    out = capsys.readouterr().out
    assert f"warning: {signed / SIG}: not checked" in out and "do not prove who made the bundle" in out
    assert app.main(["verify", str(signed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signature"] is None
    assert app.main(["verify", str(signed), "--json", "--key", str(keys[1])]) == 0
    assert json.loads(capsys.readouterr().out)["signature"] == str(signed / SIG)


def test_a_signature_may_be_outside(bundle, keys, tmp_path, refused, capsys):
    outside = tmp_path / "fp32.sig"
    assert app.main(["sign", str(bundle), "--key", str(keys[0]), "--signature", str(outside)]) == 0
    assert not (bundle / SIG).exists()
    assert app.main(["verify", str(bundle), "--key", str(keys[1]), "--signature", str(outside)]) == 0
    capsys.readouterr()
    assert "--signature" in refused("verify", bundle, "--key", keys[1])
    assert "name the signer" in refused("verify", bundle, "--signature", outside)


def flip(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return change


def reseal(folder: Path) -> None:
    """Change a file and write new checksums, which checks without a key accept."""
    with (folder / "tokenizer_config.json").open("a") as file:
        file.write("\n")
    signature = (folder / SIG).read_bytes()
    (folder / SIG).unlink()
    seal(folder)
    (folder / SIG).write_bytes(signature)


def compile_predict(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "predict.cpython-311.pyc").write_bytes(b"other code")


CHANGES: dict[str, Callable[[Path], object]] = {
    **{f"a bit of {name}": flip(name) for name in (
        "README.md", "SHA256SUMS", "bundle.json", "config.json", "onnx/model.onnx", "predict.py", "tokenizer.json", SIG,
    )},
    "an extra file": lambda folder: (folder / "sitecustomize.py").write_text("raise SystemExit"),
    "an extra file in a folder": lambda folder: (folder / "onnx" / "a.py").write_text("raise SystemExit"),
    "compiled Python": compile_predict,
    "a missing file": lambda folder: (folder / "config.json").unlink(),
    "no card": lambda folder: (folder / "README.md").unlink(),
    "a link to another card": lambda folder: ((folder / "README.md").unlink(),
                                              (folder / "README.md").symlink_to("/etc/hostname")),
    "new checksums": reseal,
    "no signature": lambda folder: (folder / SIG).unlink(),
    "an empty signature": lambda folder: (folder / SIG).write_bytes(b""),
    "half a signature": lambda folder: (folder / SIG).write_bytes((folder / SIG).read_bytes()[:500]),
    "a deep signature": lambda folder: (folder / SIG).write_text("[" * 100_000),
    "a signature of nothing": lambda folder: (folder / SIG).write_text("{}"),
    "a huge signature": lambda folder: (folder / SIG).write_bytes(bytes(2**21)),
    "a folder as signature": lambda folder: ((folder / SIG).unlink(), (folder / SIG).mkdir()),
    "a pipe as signature": lambda folder: ((folder / SIG).unlink(), os.mkfifo(folder / SIG)),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_refused(signed, keys, refused, change):
    CHANGES[change](signed)
    assert str(signed) in refused("verify", signed, "--key", keys[1])


def test_new_checksums_are_only_noticed_with_a_key(signed, keys, refused, capsys):
    reseal(signed)
    assert app.main(["verify", str(signed)]) == 0
    capsys.readouterr()
    assert "Signature mismatch" in refused("verify", signed, "--key", keys[1])


def test_the_signature_of_another_signer_or_another_bundle_is_refused(signed, original, keys, tmp_path, refused):
    other_private, other_public = write_key_pair(tmp_path, "other")
    assert "Key mismatch" in refused("verify", signed, "--key", other_public)
    other = shutil.copytree(original, tmp_path / "other")
    flip("README.md")(other)
    sign_bundle(other, PrivateKey(key=keys[0]))
    shutil.copy(other / SIG, signed / SIG)
    assert "Signature mismatch" in refused("verify", signed, "--key", keys[1])
    (signed / SIG).unlink()
    sign_bundle(signed, PrivateKey(key=other_private))
    content = json.loads((signed / SIG).read_text())
    content["verificationMaterial"]["publicKey"]["hint"] = None  # it would give the other key away
    (signed / SIG).write_text(json.dumps(content))
    assert "InvalidSignature" in refused("verify", signed, "--key", keys[1])


def payload_of(signature: Path) -> Any:
    return json.loads(base64.b64decode(json.loads(signature.read_text())["dsseEnvelope"]["payload"]))


def test_what_the_signer_left_out_is_not_taken_as_signed(bundle, keys, tmp_path, refused):
    """Another tool can sign a part of a folder. Its signature tells the verifier to ignore the rest."""
    ignored = ["onnx", "predict.py", "SHA256SUMS"]
    ignoring = model_signing.hashing.Config().set_ignored_paths(paths=ignored)
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys[0]).set_hashing_config(ignoring)
    signer.sign(bundle, tmp_path / "part.sig")
    flip("onnx/model.onnx")(bundle)
    seal(bundle)
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=keys[1]).verify(bundle, tmp_path / "part.sig")
    assert "mismatch" in refused("verify", bundle, "--key", keys[1], "--signature", tmp_path / "part.sig")


def test_other_programs_verify_our_signatures_and_we_verify_theirs(signed, keys, tmp_path):
    (signed / ".gitattributes").write_text("added by the Hub")
    (signed / ".cache" / "huggingface").mkdir(parents=True)
    (signed / ".cache" / "huggingface" / "a.metadata").write_text("added by a download")
    theirs = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=keys[1])
    theirs.verify(signed, signed / SIG)
    names = [each["name"] for each in payload_of(signed / SIG)["predicate"]["resources"]]
    assert {"README.md", "SHA256SUMS", "onnx/model.onnx", "predict.py"} <= set(names) and len(names) == 13 - 1
    shutil.rmtree(signed / ".cache")
    (signed / SIG).unlink()
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys[0])
    signer.sign(signed, tmp_path / "theirs.sig")
    assert verify_signature(signed, PublicKey(key=keys[1]), tmp_path / "theirs.sig") == tmp_path / "theirs.sig"


def test_nothing_is_overwritten_and_nothing_else_comes_into_the_bundle(bundle, keys, tmp_path, refused):
    for path in (bundle / "fp32.sig", bundle / "onnx" / SIG, tmp_path / "nowhere" / "a.sig"):
        refused("sign", bundle, "--key", keys[0], "--signature", path)
    (tmp_path / "mine.sig").write_text("mine")
    (tmp_path / "dangling.sig").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "mine.sig", tmp_path / "dangling.sig"):
        assert "already exists" in refused("sign", bundle, "--key", keys[0], "--signature", path)
    assert (tmp_path / "mine.sig").read_text() == "mine" and not (tmp_path / "elsewhere").exists()
    (bundle / "notes.txt").write_text("mine")
    assert "SHA256SUMS does not list it" in refused("sign", bundle, "--key", keys[0])
    (bundle / "notes.txt").unlink()
    (tmp_path / "config.json").write_bytes((bundle / "config.json").read_bytes())
    (bundle / "README.md").rename(bundle / "onnx" / "card.md")
    (bundle / "README.md").symlink_to("onnx/card.md")
    refused("sign", bundle, "--key", keys[0])
    assert not list(bundle.glob("*.sig")) and not list(bundle.glob(".*"))


@pytest.fixture(scope="module")
def files_as_keys(tmp_path_factory, keys) -> Path:
    """Files that are no usable keys."""
    folder = tmp_path_factory.mktemp("wrong")
    write_key_pair(folder, "rsa", key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    write_key_pair(folder, "ed25519", key=ed25519.Ed25519PrivateKey.generate())
    write_key_pair(folder, "bitcoin", key=ec.generate_private_key(ec.SECP256K1()))
    write_key_pair(folder, "encrypted", password=b"secret")
    shutil.copy(write_certificates(folder)[1], folder / "certificate.pem")
    for name, public in (("rsa", "rsa.pub"), ("public", keys[1])):
        shutil.copy(folder / public, folder / f"public-{name}.pem")
    shutil.copy(keys[0], folder / "private.pem")
    (folder / "damaged.pem").write_bytes(keys[0].read_bytes().replace(b"MIG", b"MIH"))
    (folder / "empty.pem").write_bytes(b"")
    (folder / "zeros.pem").write_bytes(bytes(1000))
    with (folder / "huge.pem").open("wb") as file:
        file.truncate(2**40)
    os.mkfifo(folder / "pipe.pem")
    (folder / "folder.pem").mkdir()
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rsa", "got an RSA key; expected an EC key"),
        ("ed25519", "got an Ed25519 key"),
        ("bitcoin", "an EC key on the curve secp256k1"),
        ("encrypted", "POCKETBERT_KEY_PASSWORD"),
        ("public-public", "got a public key; expected a private key"),
        ("certificate", "got a certificate; expected a private key"),
        ("damaged", "the private key cannot be read"),
        ("empty", "got an empty file"),
        ("zeros", "got another kind of file"),
        ("huge", "expected at most"),
        ("pipe", "got a pipe"),
        ("folder", "got a folder"),
        ("missing", "no such file"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_what_cannot_sign_is_one_line(bundle, files_as_keys, refused, name, message):
    assert message in refused("sign", bundle, "--key", files_as_keys / f"{name}.pem")
    assert not (bundle / SIG).exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("private", "got a private key; expected the public key of the signer"),
        ("certificate", "got a certificate"),
        ("public-rsa", "got an RSA key"),
        ("empty", "got an empty file"),
        ("huge", "expected at most"),
        ("pipe", "got a pipe"),
        ("missing", "no such file"),
    ],
)
def test_what_cannot_verify_is_one_line(signed, files_as_keys, refused, name, message):
    assert message in refused("verify", signed, "--key", files_as_keys / f"{name}.pem")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_encrypted_keys_of_each_curve_sign_with_their_password(bundle, tmp_path, refused, monkeypatch, curve):
    private, public = write_key_pair(tmp_path, key=ec.generate_private_key(curve), password="Schlüssel".encode())
    monkeypatch.setenv("POCKETBERT_KEY_PASSWORD", "wrong")
    assert "is the password right?" in refused("sign", bundle, "--key", private)
    monkeypatch.setenv("POCKETBERT_KEY_PASSWORD", "Schlüssel")
    assert app.main(["sign", str(bundle), "--key", str(private)]) == 0
    assert verify_signature(bundle, PublicKey(key=public))
    (bundle / SIG).unlink()
    assert app.main(["sign", str(bundle), "--key", str(write_key_pair(tmp_path, "plain")[0])]) == 0


# -- certificates


def test_a_certificate_is_trusted_by_its_root_only(bundle, tmp_path, keys, refused, capsys):
    private, leaf, root = write_certificates(tmp_path)
    assert app.main(["sign", str(bundle), "--key", str(private), "--certificate", str(leaf)]) == 0
    assert app.main(["verify", str(bundle), "--certificate-chain", str(root)]) == 0
    capsys.readouterr()
    other_root = write_certificates(tmp_path, "stranger")[2]
    assert "not a valid signature" in refused("verify", bundle, "--certificate-chain", other_root)
    assert "not a valid signature" in refused("verify", bundle, "--key", keys[1])
    assert "got a public key" in refused("verify", bundle, "--certificate-chain", keys[1])
    flip("README.md")(bundle)
    assert "Signature mismatch" in refused("verify", bundle, "--certificate-chain", root)


def test_a_certificate_that_cannot_sign_is_refused(bundle, tmp_path, keys, refused, capsys):
    private, leaf, root = write_certificates(tmp_path, "tls", can_sign=False)
    assert "does not match" in refused("sign", bundle, "--key", keys[0], "--certificate", leaf)
    assert app.main(["sign", str(bundle), "--key", str(private), "--certificate", str(leaf)]) == 0
    capsys.readouterr()
    assert "cannot be used for signing" in refused("verify", bundle, "--certificate-chain", root)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sign", []),
        ("sign", ["--key", "a", "--sigstore"]),
        ("sign", ["--sigstore", "--certificate", "a"]),
        ("sign", ["--key", "a", "--certificate-chain", "b"]),
        ("verify", ["--key", "a", "--certificate-chain", "b"]),
        ("verify", ["--identity", "me@example.org"]),
        ("verify", ["--identity-issuer", "https://example.org"]),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(bundle, refused, command, words):
    assert "--" in refused(command, bundle, *words)


# -- an installation without the packages


@pytest.mark.parametrize("package", ["model_signing", "cyclonedx", "OpenSSL"])
def test_a_missing_package_is_named_with_its_extra(bundle, keys, refused, monkeypatch, package):
    for name in [name for name in sys.modules if name.startswith(("model_signing", "cyclonedx", "OpenSSL"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    words = ["sbom", bundle] if package == "cyclonedx" else ["sign", bundle, "--key", keys[0]]
    assert f"{package} is not installed" in (error := refused(*words)) and install_command("sign") in error


def test_signing_needs_neither_onnxruntime_nor_torch(bundle, keys):
    program = (
        "import sys; sys.modules |= dict.fromkeys(('onnxruntime', 'torch', 'transformers')); "
        "from pocketbert.cli import app; sys.exit(app.main(sys.argv[1:]))"
    )
    for words in (["sbom", bundle], ["sign", bundle, "--key", keys[0]]):
        done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


# -- Sigstore


def test_sigstore_without_an_identity_opens_no_browser(bundle, refused, monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "GOOGLE_SERVICE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("webbrowser.open", lambda *_: pytest.fail("a browser was opened"))
    assert "no identity; expected a CI job" in refused("sign", bundle, "--sigstore")


def test_sigstore_without_a_network_is_one_line(bundle, refused, monkeypatch, tmp_path):
    monkeypatch.setattr("webbrowser.open", lambda *_: pytest.fail("a browser was opened"))
    monkeypatch.setenv("HOME", str(tmp_path))  # no trusted root from an earlier call
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert "Sigstore cannot be used" in refused("sign", bundle, "--sigstore")
    sign_bundle(bundle, PrivateKey(key=write_key_pair(tmp_path)[0]))
    verified = refused("verify", bundle, "--identity", "me@example.org", "--identity-issuer", "https://example.org")
    assert "Sigstore cannot be used" in verified
