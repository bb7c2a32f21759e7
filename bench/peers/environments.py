"""The toolkits that are compared with ours, each in an environment of its own. Imports only light modules."""

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results.benchmark import Engine, Precision

ROOT = Path(__file__).resolve().parent.parent.parent
MARKER = "requirements.txt"  # of a finished environment
ENVIRONMENTS_LOCK = ".pocketbert-peers.lock"  # of a folder of environments, while a process uses them
OUTCOMES = "outcomes.json"


class PeerError(RuntimeError):
    """A peer's environment could not be built."""


@dataclass(frozen=True, kw_only=True)
class PeerVariant:
    """A variant of a peer's model. `label`: names its row and its conversion. `precision`: of its weights."""

    label: str
    variant: str
    precision: "Precision"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A toolkit. `module`: its module in `bench.peers`. `engine`: runs its models."""

    name: str
    module: str
    engine: "Engine"
    requirements: tuple[str, ...]
    variants: tuple[PeerVariant, ...]


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="optimum-onnx",
            module="optimum_onnx",
            engine="onnxruntime",
            requirements=(
                "optimum-onnx[onnxruntime]==0.1.0",
                "onnx==1.23.2",
                "onnxruntime==1.32.0",
                "torch==2.13.0",
                "transformers==4.57.6",
            ),
            variants=(
                PeerVariant(label="optimum-onnx O3", variant="O3", precision="fp32"),
                PeerVariant(label="optimum-onnx int8", variant="int8", precision="int8"),
            ),
        ),
        Peer(
            name="OpenVINO",
            module="openvino",
            engine="openvino",
            requirements=("openvino==2026.4.1", "nncf==3.4.0", "torch==2.13.0", "transformers==5.24.0"),
            variants=(
                PeerVariant(label="OpenVINO fp32", variant="fp32", precision="fp32"),
                PeerVariant(label="OpenVINO bf16", variant="bf16", precision="bf16"),
                PeerVariant(label="OpenVINO int8", variant="int8", precision="int8"),
            ),
        ),
        Peer(
            name="CTranslate2",
            module="ctranslate2",
            engine="ctranslate2",
            requirements=("ctranslate2==4.8.5", "torch==2.13.0", "transformers==4.57.6"),
            variants=(PeerVariant(label="CTranslate2 int8", variant="int8", precision="int8"),),
        ),
        Peer(
            name="Olive",
            module="olive",
            engine="onnxruntime",
            requirements=(
                "olive-ai[cpu]==0.13.0",
                "onnx==1.23.2",
                "onnxruntime==1.32.0",
                "requests==2.34.2",  # imported by olive-ai 0.13.0, which does not declare it
                "torch==2.13.0",
                "transformers==5.24.0",
            ),
            variants=(
                PeerVariant(label="Olive fp32", variant="fp32", precision="fp32"),
                PeerVariant(label="Olive int8", variant="int8", precision="int8"),
            ),
        ),
    )
}


def environment(peer: Peer, folder: Path) -> Path:
    """The interpreter of the peer's environment in `folder`. Builds it with pip unless it is there.

    The name of an environment ends with a digest of its requirements, so none replaces another. pip's default index has
    torch with CUDA, which is gigabytes large. Set PIP_EXTRA_INDEX_URL to https://download.pytorch.org/whl/cpu for the
    CPU build. Raises PeerError.
    """
    from compress.common.errors import UserError  # imported here to keep it out of the measured import time
    from compress.common.owned_files import RECORD, open_output, require_absent

    content = "\n".join((f"# python {sys.version.split()[0]}", *peer.requirements, ""))
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    of_version_0_5, home = (folder / name for name in (peer.name, f"{peer.name}-{digest}"))
    for each in (of_version_0_5, home):
        if (each / MARKER).is_file() and (each / MARKER).read_text(encoding="utf-8") == content:
            return _python_of(each)
    try:
        if not (home / RECORD).exists():  # not begun by us
            require_absent(folder, [home.name])
        owned = open_output(home, [])
    except UserError as error:
        raise PeerError(f"{peer.name}: {error}") from error
    python = _python_of(home)
    try:
        venv.create(home, with_pip=True, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerError(f"{peer.name}: cannot create the environment {home}: {error}") from error
    pip = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},  # hides our packages from pip
    )
    if pip.returncode != 0:
        raise PeerError(f"{peer.name}: {_reason(pip.stderr, f'pip failed with exit code {pip.returncode}')}")
    for name in (path.name for path in home.iterdir() if path.name != RECORD):
        owned.add(name)
    owned.files[MARKER] = hashlib.sha256(content.encode()).hexdigest()
    owned.save()
    (home / MARKER).write_text(content, encoding="utf-8", newline="\n")
    return python


def _python_of(home: Path) -> Path:
    return home.absolute() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def convert_in_environment(
    peer: Peer, python: Path, model: Path, rows: Sequence[Sequence[str]], output: Path, max_length: int
) -> dict[str, Path | str]:
    """Convert a fine-tuned BERT to all variants of a peer. Returns by label the folder of a variant, or its error.

    `rows`: calibration texts, or pairs of texts, from the training set. `max_length`: the model's maximum number of
    tokens. `common.run_conversion` describes the content of the folders.
    """
    output.mkdir(parents=True, exist_ok=True)  # empty, or with the conversions of other peers
    calibration = output / "calibration.json"
    calibration.write_text(json.dumps([list(row) for row in rows]), encoding="utf-8")
    outcomes = output / OUTCOMES
    outcomes.unlink(missing_ok=True)
    options = ["--calibration", str(calibration), "--max-length", str(max_length)]
    conversion = subprocess.run(
        [str(python), "-P", "-m", f"bench.peers.{peer.module}", str(model), str(output), *options],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "CI": "true",  # prevents the toolkits from sending usage data
        },
    )
    if not outcomes.exists():
        reason = _reason(conversion.stderr, f"its process ended (exit code {conversion.returncode})")
        return {variant.label: reason for variant in peer.variants}
    errors: dict[str, str | None] = json.loads(outcomes.read_text(encoding="utf-8"))
    return {label: error or output / folder_name(label) for label, error in errors.items()}


def folder_name(label: str) -> str:
    """The name of a variant's folder in the output of a conversion."""
    return label.lower().replace(" ", "-")


def _reason(stderr: str, default: str) -> str:
    """The last line that reports an error, else the last line, else the default."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(("WARNING", "["))]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [default])[-1]
