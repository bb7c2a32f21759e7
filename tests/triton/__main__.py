"""Starts a real Triton server on the output of `pocketbert triton`, and compares its answers with predict.py.

    python -m tests.triton bundles --texts texts.txt
    python -m tests.triton bundles --texts texts.txt --crd serving.kserve.io_inferenceservices.yaml --kserve 0.20.0

Takes bundles, and folders of bundles; adds tiny bundles for pairs and regression. The environment of the server is made
under .interop/. The server has no onnxruntime backend, so that a Python model stands for it in the part of `--gpu`.
`--crd`: KServe's definition of InferenceService, for a check of the service. The exit code is 1 if an answer differs.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from bench.measurement import machine
from compress.common.files import write_json
from export.bundle.bundle_json import read_bundle_info
from export.quantisation.variants import FOR_GPU
from pocketbert.triton.repository import SERVICE_FILE, TritonRequest, write_repository
from tests.interop.environments import UnavailableError
from tests.interop.tiny_models import HELPERS, build_tiny_bundles
from tests.triton.kserve_schema import problems
from tests.triton.server import PACKAGES, Installation, install, replace_onnxruntime_backend, running

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "serving" / "triton.json"
CLIENT = Path(__file__).with_name("client.py")
LARGEST_DIFFERENCE = 1e-6  # of a probability: predict.py prints six digits
MODES = ("alone", "concurrent", "in_one_request")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", help="bundles, or folders of bundles")
    parser.add_argument("--texts", type=Path, required=True, help="file with one text per line")
    parser.add_argument("--count", type=int, default=200, help="number of texts (default: 200)")
    parser.add_argument("--crd", type=Path, help="KServe's definition of InferenceService")
    parser.add_argument("--kserve", default="unknown", help="the version of KServe that it is from")
    parser.add_argument("--environments", type=Path, default=ROOT / ".interop", help="folder for the environment")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(HELPERS))
    texts = options.texts.read_text(encoding="utf-8").splitlines()[: options.count]
    bundles = [folder for path in options.bundles for folder in _bundles_in(path)]
    tiny = build_tiny_bundles(options.environments / "tiny")
    entries = {folder.name: (folder, texts) for folder in bundles}
    entries |= {folder.name: (folder, _tiny_texts(options.count)) for folder in tiny}
    on_gpu = {name: entry for name, entry in entries.items() if read_bundle_info(entry[0]).variant in FOR_GPU}
    try:
        installation = install(options.environments)
        with TemporaryDirectory() as work:
            parts = {
                "cpu": _run(entries, Path(work) / "cpu", installation, gpu=False),
                "gpu_with_stand_in": _run(on_gpu, Path(work) / "gpu", installation, gpu=True),
            }
            services = {name: Path(work) / name / SERVICE_FILE for name in ("cpu", "gpu")}
            refused = {name: problems(path, options.crd) for name, path in services.items()} if options.crd else None
    except UnavailableError as error:
        sys.stdout.write(f"not run: {error}\n")
        return 1
    failures = [line for name, part in parts.items() for line in _failures(name, part["models"])]
    failures += [f"{name}: {line}" for name, lines in (refused or {}).items() for line in lines]
    content = {
        "parts": {name: part["models"] for name, part in parts.items()},
        "num_texts": len(texts),
        "versions": {**parts["cpu"]["versions"], "packages": PACKAGES.packages},
        "parsed_configurations": sum(part["configs"] for part in parts.values()),
        "kserve": None if refused is None else {"version": options.kserve, "refused": refused},
        "machine": asdict(machine.describe()),
        "failures": failures,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, content)
    for line in failures:
        sys.stdout.write(f"FAILED: {line}\n")
    sys.stdout.write(f"{len(failures)} failures; {options.output}\n")
    return 1 if failures else 0


def _bundles_in(path: Path) -> list[Path]:
    if (path / "bundle.json").is_file():
        return [path]
    return sorted(file.parent for file in path.glob("*/bundle.json"))


def _tiny_texts(count: int) -> list[str]:
    from tiny_bert import rows

    return [text for text, _ in rows(count, seed=9)]


def _run(
    entries: dict[str, tuple[Path, list[str]]], output: Path, installation: Installation, *, gpu: bool
) -> dict[str, Any]:
    """The comparison of each bundle, by name, on one server."""
    write_repository(
        [folder for folder, _ in entries.values()],
        TritonRequest(names=list(entries), gpu=gpu),
        output=output,
        console=Console(stderr=True),
    )
    models = output / "models"
    configs = {path.parent.name: path.read_text(encoding="utf-8") for path in models.glob("*/config.pbtxt")}
    job: dict[str, Any] = {"configs": configs, "models": []}
    for name, (folder, texts) in entries.items():
        pairs = [" ".join(text.split()[::-1]) for text in texts] if read_bundle_info(folder).takes_pairs else None
        job["models"].append({"name": name, "bundle": str(folder.absolute()), "texts": texts, "pairs": pairs})
    replace_onnxruntime_backend(models)
    with running(models, installation, output / "server.log") as addresses:
        finished = subprocess.run(
            [installation.python, CLIENT],
            input=json.dumps({**job, **asdict(addresses)}),
            capture_output=True,
            text=True,
            env={**installation.environment, "PYTHONPATH": ""},
        )
    if finished.returncode:
        raise UnavailableError((finished.stderr.strip().splitlines() or ["the client failed"])[-1])
    return json.loads(finished.stdout.splitlines()[-1])


def _failures(part: str, models: dict[str, Any]) -> Iterator[str]:
    for name, model in models.items():
        for protocol in ("http", "grpc"):
            results = model[protocol]
            where = f"{part}, {name}, {protocol}"
            for mode in MODES:
                got = results[mode]
                if got["changed_labels"] or got["largest_difference"] > LARGEST_DIFFERENCE:
                    yield f"{where}, {mode}: {got}"
            if results["concurrent"]["executions"] >= results["alone"]["executions"]:
                yield f"{where}: requests of concurrent clients were not merged"
            if not results["errors"]["only_wrong_ones_failed"]:
                yield f"{where}: {results['errors']}"
            if not results.get("most_probable_agrees", True):
                yield f"{where}: labels.txt names other labels"


if __name__ == "__main__":
    sys.exit(main())
