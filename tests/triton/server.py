"""A Triton server for CPUs on loopback: the one in nvidia-pytriton, which has the Python backend only."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.environments import PythonPackages, UnavailableError, folder_of

PACKAGES = PythonPackages(
    name="triton",
    packages=(
        "nvidia-pytriton==0.7.0",
        "numpy==1.26.4",  # the newest that its Python backend works with
        "tritonclient[grpc,http]==2.73.0",
        "onnxruntime==1.32.0",
        "tokenizers==0.23.3",
    ),
)
STUB = "triton_python_backend_stub"
LONGEST_START_S = 180
STAND_IN = Path(__file__).with_name("onnxruntime_stand_in.py")


@dataclass(frozen=True, kw_only=True)
class Installation:
    """`python`: the interpreter of the environment. `environment`: variables of the server."""

    python: Path
    triton: Path
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Ports on loopback."""

    http: int
    grpc: int


def install(root: Path) -> Installation:
    """The environment under a folder, made if it is not there yet. Raises UnavailableError."""
    folder = folder_of(PACKAGES, root).absolute()
    python = folder / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'), sysconfig.get_path('purelib'))"
    libraries, packages = subprocess.run(
        [python, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    triton = Path(packages) / "pytriton" / "tritonserver"
    stub = triton / "backends" / "python" / STUB
    shutil.copyfile(triton / "python_backend_stubs" / "3.11" / STUB, stub)
    for file in (stub, triton / "bin" / "tritonserver"):
        file.chmod(0o755)
    variables = {
        "LD_LIBRARY_PATH": libraries,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": packages,
        "VIRTUAL_ENV": str(folder),
    }
    return Installation(python=python, triton=triton, environment={**os.environ, **variables})


def replace_onnxruntime_backend(models: Path) -> None:
    """Let Python models, with the same names, inputs and outputs, run what the onnxruntime backend would run."""
    for config in models.glob("*/config.pbtxt"):
        text = config.read_text(encoding="utf-8")
        if 'backend: "onnxruntime"' in text:
            text = text.replace('backend: "onnxruntime"', 'backend: "python"').replace("KIND_GPU", "KIND_CPU")
            config.write_text(text, encoding="utf-8")
            shutil.copyfile(STAND_IN, config.parent / "1" / "model.py")


@contextmanager
def running(models: Path, installation: Installation, log: Path) -> Iterator[Addresses]:
    """A server on a model repository, ready for requests. Raises UnavailableError with the end of its log."""
    http, grpc, metrics = _free_ports(3)
    command = [
        installation.triton / "bin" / "tritonserver",
        f"--model-repository={models}",
        f"--backend-directory={installation.triton / 'backends'}",
        *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")),
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        "--allow-gpu-metrics=false",
    ]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=installation.environment)
    try:
        _wait_until_ready(process, http, log)
        yield Addresses(http=http, grpc=grpc)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + LONGEST_START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    errors = [line for line in log.read_text(errors="replace").splitlines() if "rror" in line]
    raise UnavailableError(f"the server did not start: {errors[-1] if errors else 'no error in its log'}; see {log}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
