"""The toolkits that are compared with ours, each in an environment of its own. Imports only light modules."""

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
MARKER = "requirements.txt"
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
    """The interpreter of the peer's environment in `folder`/<name>. Builds it with pip unless it is up to date.

    pip's default index has torch with CUDA, which is gigabytes large. Set PIP_EXTRA_INDEX_URL to
    https://download.pytorch.org/whl/cpu for the CPU build. Raises PeerError.
    """
    home = (folder / peer.name).absolute()
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = home / MARKER
    content = "\n".join((f"# python {sys.version.split()[0]}", *peer.requirements, ""))
    if marker.exists() and python.exists() and marker.read_text(encoding="utf-8") == content:
        return python
    try:
        venv.create(home, clear=True, with_pip=True, symlinks=os.name != "nt")
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
    marker.write_text(content, encoding="utf-8")
    return python


def convert_in_environment(
    peer: Peer, python: Path, model: Path, rows: Sequence[Sequence[str]], output: Path, max_length: int
) -> dict[str, Path | str]:
    """Convert a fine-tuned BERT to all variants of a peer. Returns by label the folder of a variant, or its error.

    `rows`: calibration texts, or pairs of texts, from the training set. `max_length`: the model's maximum number of
    tokens. `common.run_conversion` describes the content of the folders.
    """
    output.mkdir(parents=True, exist_ok=True)
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
