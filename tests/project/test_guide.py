"""Every command of the guide runs, in its order, in a folder with the files that it names."""

import shlex
import subprocess

import pytest

from brief_benchmarks import make_benchmarks_brief
from documents import blocks
from made_wheels import empty_wheel
from pocketbert.demo import libraries
from pocketbert.demo.server import DemoServer
from running_server import serving

ADDED = {  # what makes a command short, or fit for a tiny model
    "new": ["--teacher", "models/my-bert", "--output", "from-guide.yaml"],
    "check": ["--smoke"],
    "run": ["--smoke", "--output", "runs/reviews"],
}
TAGS = {"numpy": "cp311-cp311", "onnxruntime": "cp311-cp311", "tokenizers": "cp39-abi3"}
VERSIONS = {"numpy": "2.0.0", "onnxruntime": "1.30.0", "tokenizers": "0.22.0"}
PLATFORM = "manylinux_2_17_aarch64.manylinux2014_aarch64"


def lines_of_the_guide() -> list[str]:
    return [line.partition("  #")[0].strip() for line in "".join(blocks("docs/guide.md", "sh")).splitlines()]


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> None:
    """pip takes wheels of another processor from a folder, and from nowhere else."""
    for package, tag in TAGS.items():
        empty_wheel(package, VERSIONS[package], f"{tag}-{PLATFORM}", tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


@pytest.fixture
def page_without_visitors(monkeypatch) -> None:
    """The demo needs no download, and ends at once, as after Ctrl-C."""

    def interrupted(server: DemoServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(libraries, "LIBRARIES", ())
    monkeypatch.setattr(DemoServer, "serve_forever", interrupted)


@pytest.mark.slow
def test_every_command_runs(sandbox, monkeypatch, wheels, page_without_visitors):
    make_benchmarks_brief(monkeypatch)
    monkeypatch.chdir(sandbox.root)
    lines = lines_of_the_guide()
    assert len(lines) > 15
    for number, line in enumerate(lines):
        name = shlex.split(line)[1]
        if name == "serve":
            request = lines[number + 1]
            assert request.startswith("curl ") and "localhost:8080" in request
            with serving(*shlex.split(line)[2:], environment=dict(sandbox.environment)) as running:
                command = request.replace("localhost:8080", f"localhost:{running.http}").replace("curl", "curl -f")
                answer = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
            assert '"score"' in answer
        elif not line.startswith("curl "):
            finished = sandbox.run(line, ADDED.get(name, ()))
            assert finished.returncode == 0, f"{line}: {finished.stderr}"
