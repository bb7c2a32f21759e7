"""Drives a real `pocketbert serve` with the clients of other projects, and with schemathesis.

    python -m tests.serve bundles/int8-static --texts texts.txt

The environment of the clients is made under .interop/. schemathesis sends what the OpenAPI document describes, and much
else. The exit code is 1 if an answer differs from predict.py, or if anything gets status 500.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.common.files import write_json
from tests.interop.environments import PythonPackages, UnavailableError, folder_of
from tests.interop.tiny_models import HELPERS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "serving" / "clients.json"
CLIENT = Path(__file__).with_name("client.py")
PACKAGES = PythonPackages(
    name="serve-clients",
    packages=("tritonclient[grpc,http]==2.73.0", "huggingface_hub==2.4.0", "schemathesis==4.32.5", "numpy==2.4.6"),
)
LARGEST_DIFFERENCE = 1e-6  # of a probability: predict.py prints six digits
EXAMPLES = 200  # per operation


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--texts", type=Path, required=True, help="file with one text per line")
    parser.add_argument("--count", type=int, default=200, help="number of texts (default: 200)")
    parser.add_argument("--environments", type=Path, default=ROOT / ".interop", help="folder for the environment")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(HELPERS))
    texts = options.texts.read_text(encoding="utf-8").splitlines()[: options.count]
    try:
        environment = folder_of(PACKAGES, options.environments).absolute()
    except UnavailableError as error:
        sys.stdout.write(f"not run: {error}\n")
        return 1
    result = _measure(options.bundle, texts, environment / "bin")
    failures = [f"{name}: {each}" for name, each in result["clients"].items() if not _is_right(each)]
    if result["schemathesis"]["exit_code"]:
        failures.append(f"schemathesis: {result['schemathesis']['summary']}")
    write_json(options.output, {**result, "num_texts": len(texts), "packages": PACKAGES.packages, "failures": failures})
    for line in failures:
        sys.stdout.write(f"FAILED: {line}\n")
    sys.stdout.write(f"{len(failures)} failures; {options.output}\n")
    return 1 if failures else 0


def _measure(bundle: Path, texts: list[str], programs: Path) -> dict[str, Any]:
    import pocketbert
    from running_server import serving

    expected = [answer for text in texts for answer in pocketbert.load(bundle).predict([text])]
    with serving(f"model={bundle}", options=("--no-request-log",)) as server:
        job = {"name": "model", "texts": texts, "expected": expected}
        job |= {"http": f"127.0.0.1:{server.http}", "grpc": f"127.0.0.1:{server.grpc}"}
        client = subprocess.run(
            [programs / "python", CLIENT], input=json.dumps(job), capture_output=True, text=True, check=False
        )
        if client.returncode:
            raise RuntimeError(client.stderr)
        command = [programs / "schemathesis", "run", f"http://127.0.0.1:{server.http}/openapi.json"]
        checks = ["--checks", "not_a_server_error,response_schema_conformance,content_type_conformance"]
        finished = subprocess.run(
            [*command, *checks, "--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing", "--seed", "1"],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"Test cases:\s+(.*)", finished.stdout)
    summary = found[1].strip() if found else finished.stdout[-500:]
    return {**json.loads(client.stdout), "schemathesis": {"exit_code": finished.returncode, "summary": summary}}


def _is_right(result: dict[str, Any]) -> bool:
    return (
        not result["changed_labels"]
        and result.get("largest_difference", 0.0) <= LARGEST_DIFFERENCE
        and "answered" not in result.get("refusals", ())
    )


if __name__ == "__main__":
    sys.exit(main())
