"""Packages a bundle for several machines, installs it on each without network, and measures it there.

    python -m tests.edge runs/quickstart/bundles/int8-static

Processors of another type are emulated by qemu: their outputs are real, their times and memory are not those of the
device. The systems are made under .interop/ from Debian's packages. The exit code is 1 if an installation fails.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from compress.common.console import new_console
from compress.common.files import sha256, write_json
from export.bundle.golden_check import processor_name
from pocketbert.edge.package_bundle import package_bundle
from tests.edge.devices import DEVICES, Device, Machine, start

ROOT = Path(__file__).resolve().parents[2]
CALLS = 5
TEXT = "a warm and funny film"
CONNECT = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"  # an address that nobody has


def main() -> int:
    """Run all devices. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a bundle of a classifier or a regression of single texts")
    parser.add_argument("--only", default="", help="devices whose name contains this")
    parser.add_argument("--environments", type=Path, default=ROOT / ".interop", help="folder for the systems")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "serving" / "edge.json")
    options = parser.parse_args()
    devices = [device for device in DEVICES if options.only in device.name]
    if not devices:
        parser.error(f"--only: got {options.only!r}; expected part of {', '.join(each.name for each in DEVICES)}")
    records = [measure(device, options.bundle, options.environments) for device in devices]
    info = json.loads((options.bundle / "bundle.json").read_text(encoding="utf-8"))
    content = {
        "bundle": {
            "name": info["name"],
            "variant": info["variant"],
            "model_sha256": sha256(options.bundle / "onnx" / "model.onnx"),
            "model_bytes": (options.bundle / "onnx" / "model.onnx").stat().st_size,
        },
        "host": processor_name(),
        "network": "none: each device has a network namespace of its own, without interfaces that are up",
        "emulation": "qemu-user; times and memory include the emulator and are not those of a real device",
        "devices": records,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, content)
    return 1 if any(record["failure"] for record in records) else 0


def measure(device: Device, bundle: Path, environments: Path) -> dict[str, Any]:
    """Package, install and call. The record of a failed installation has its last line as `failure`."""
    machine = start(device, environments, environments / "edge-work")
    archive = machine.folder / "archive.tar.gz"
    packaged = package_bundle(
        bundle, target=device.target, python=device.python, output=archive, console=new_console(stderr=True)
    )
    if machine.run(f"python{device.python}", "-c", CONNECT).returncode == 0:
        raise SystemExit(f"{device.name}: has a network")
    record: dict[str, Any] = {
        "name": device.name,
        "like": device.like,
        "emulated": device.processor is not None,
        "target": device.target,
        "system": f"Debian {device.suite}",
        "python": machine.run(f"python{device.python}", "-V").output.split()[-1],
        "packages": packaged.packages,
        "archive_bytes": packaged.size_bytes,
        "failure": "",
    }
    unpacked = machine.run("busybox", "tar", "xzf", "/place/archive.tar.gz", "-C", "/place")
    folder = next((path.name for path in machine.folder.iterdir() if path.is_dir()), "")
    installed = machine.run("sh", f"/place/{folder}/install.sh", "/place/an app")
    sys.stderr.write(unpacked.output + installed.output)
    if installed.returncode:
        return {**record, "failure": installed.output.strip().splitlines()[-1]}
    return {**record, **_measured(machine, installed.seconds, installed.output)}


def _measured(machine: Machine, install_s: float, output: str) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in (machine.folder / "an app").rglob("*") if path.is_file())
    calls = [machine.run("/place/an app/predict", TEXT) for _ in range(CALLS)]
    if any(call.returncode for call in calls):
        return {"failure": calls[0].output}
    return {
        "golden": next(line for line in output.splitlines() if "golden examples repeated" in line),
        "answer": json.loads(calls[0].output.splitlines()[-1]),
        "install_s": round(install_s, 2),
        "installed_bytes": size,
        "one_call_s": [round(call.seconds, 2) for call in calls],
        "one_call_median_s": round(statistics.median(call.seconds for call in calls), 2),
        "peak_rss_mb": round(max(call.peak_rss_bytes for call in calls) / 1e6),
    }


if __name__ == "__main__":
    sys.exit(main())
