"""Installs the bundle of this archive into a new folder, without network: `sh install.sh FOLDER` starts it.

Checks the machine and the hashes of all files, unpacks the wheels, repeats the golden examples with what it unpacked,
and only then gives the folder its name. A wheel is a zip file; pip and venv are missing on many machines.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

EXIT_BAD_INPUT = 2
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"  # the wheels of onnxruntime 1.29 and newer send usage data unless it is set
HERE = Path(__file__).absolute().parent


def fail(message: str) -> NoReturn:
    """End with one line on standard error."""
    sys.stderr.write(f"error: {printable(message)}\n")
    sys.exit(EXIT_BAD_INPUT)


def printable(message: str) -> str:
    """The message on one line, without characters that a terminal would obey or that its encoding lacks."""
    encoding = sys.stderr.encoding or "ascii"
    escaped = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


try:
    import ctypes  # noqa: F401  (numpy needs it)
    import hashlib
    import json
    import shlex
    import shutil
    import struct
    import subprocess
    import sysconfig
    import zipfile
    import zlib  # noqa: F401  (wheels are compressed)
except ImportError as error:
    fail(f"this Python has no module {error.name}; install all of Python's standard library (Debian: python3)")


def main() -> None:
    """Install into the folder that the command line names."""
    target = Path(sys.argv[1]).absolute()
    manifest = read_manifest()
    check_python(manifest)
    check_glibc(manifest)
    check_folder(target, manifest)
    check_files(manifest)
    with partial_folder(target) as partial:
        unpack(partial, manifest)
        repeat_golden_examples(partial)
        write_launcher(partial / "predict", target)
        os.sync()  # a device may lose power at any time
        try:
            partial.rename(target)
        except OSError:
            fail(f"{target}: already exists; choose another folder")
    say(f"installed; try it: {shlex.quote(str(target / 'predict'))} 'some text'")


def read_manifest() -> dict[str, Any]:
    """The manifest of the archive."""
    try:
        manifest: dict[str, Any] = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
        return manifest
    except (OSError, ValueError) as error:
        fail(f"manifest.json cannot be read ({error}); unpack the archive again")


def check_python(manifest: dict[str, Any]) -> None:
    """End unless this interpreter can load the wheels. install.sh has checked its version."""
    bits = struct.calcsize("P") * 8
    if bits != 64:
        fail(f"{sys.executable}: got a {bits}-bit Python on a 64-bit kernel; install a 64-bit system")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        fail(f"{sys.executable}: got a free-threaded Python; expected the usual build of {manifest['python']}")


def check_glibc(manifest: dict[str, Any]) -> None:
    """End unless the C library is a glibc that is new enough."""
    needed = manifest["glibc"]
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        numbers = tuple(map(int, version.split(".")[:2]))
    except (OSError, ValueError):
        fail(f"got a C library that is not glibc, such as musl (Alpine Linux); expected glibc {needed} or newer")
    if numbers < tuple(map(int, needed.split("."))):
        fail(f"got {name} {version}; expected glibc {needed} or newer; use a newer system")


def check_folder(target: Path, manifest: dict[str, Any]) -> None:
    """End unless the folder is new, and its place writable, executable and large enough."""
    if os.path.lexists(target):
        fail(f"{target}: already exists; choose another folder")
    if ":" in str(target):
        fail(f"{target}: a colon would end the path in PYTHONPATH; choose another folder")
    if not target.parent.is_dir():
        fail(f"{target.parent}: no such folder; create it first")
    flags = os.statvfs(target.parent).f_flag
    if flags & os.ST_RDONLY:
        fail(f"{target.parent}: on a read-only file system; choose another folder")
    if flags & os.ST_NOEXEC:
        fail(f"{target.parent}: on a file system mounted with noexec, which loads no libraries; choose another folder")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        fail(f"{target.parent}: no permission to write; choose another folder")
    free, needed = shutil.disk_usage(target.parent).free, manifest["installed_bytes"]
    if free < needed:
        fail(f"{target.parent}: got {free // 10**6} MB of free space; expected {needed // 10**6} MB or more")


def check_files(manifest: dict[str, Any]) -> None:
    """End unless the files of the archive are those of the manifest."""
    say(f"checking {len(manifest['files'])} files")
    for name, expected in manifest["files"].items():
        digest = hashlib.sha256()
        try:
            with (HERE / name).open("rb") as file:
                for chunk in iter(lambda: file.read(2**20), b""):
                    digest.update(chunk)
        except OSError as error:
            fail(f"{HERE / name}: {error.strerror}; unpack the archive again")
        if digest.hexdigest() != expected:
            fail(f"{HERE / name}: damaged (SHA-256 differs); copy the archive again")


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """A folder next to the target, which is removed unless the body gives it another name."""
    partial = target.with_name(f".pocketbert-{os.getpid()}.partial")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores the second
            signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        partial.mkdir()
        yield partial
    except KeyboardInterrupt:
        fail("interrupted; nothing is installed")
    except OSError as error:
        fail(f"{error.filename or target}: {error.strerror or error}")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unpack(partial: Path, manifest: dict[str, Any]) -> None:
    """Copy the bundle, and unpack the wheels into site-packages."""
    for name in manifest["files"]:
        if name.startswith("bundle/"):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(HERE / name, partial / name)
    for name in sorted(manifest["files"]):
        if name.endswith(".whl"):
            say(f"unpacking {name.rpartition('/')[2]}")
            with zipfile.ZipFile(HERE / name) as wheel:
                for entry in wheel.infolist():
                    inside = path_in_site_packages(entry.filename)
                    if inside:
                        entry.filename = inside
                        wheel.extract(entry, partial / "site-packages")


def path_in_site_packages(name: str) -> str:
    """Where a file of a wheel goes; empty for scripts, headers and data, which a library does not need."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, inside = rest.partition("/")
    return inside if kind in ("purelib", "platlib") else ""


def repeat_golden_examples(partial: Path) -> None:
    """End unless the unpacked files give the stored outputs. The check also compiles what is imported."""
    say("repeating the golden examples")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(partial / "site-packages"), NO_TELEMETRY: os.environ.get(NO_TELEMETRY, "1")}
    command = [sys.executable, "-s", str(HERE / "golden.py"), str(partial / "bundle")]
    status = subprocess.run(command, env=environment).returncode
    if status < 0:
        reason = signal.strsignal(-status) or f"signal {-status}"
        fail(
            f"Python was stopped ({reason}); this processor may be too old for these versions of the libraries, or the "
            "memory too small; nothing is installed"
        )
    if status:
        sys.exit(EXIT_BAD_INPUT)  # golden.py has printed the reason


def write_launcher(path: Path, target: Path) -> None:
    """Write the command that runs the bundle. Its paths are absolute, so that a link to it works."""
    site_packages, python, predict = (
        shlex.quote(str(part)) for part in (target / "site-packages", sys.executable, target / "bundle" / "predict.py")
    )
    lines = [
        "#!/bin/sh",
        f"PYTHONPATH={site_packages}",
        f"{NO_TELEMETRY}=${{{NO_TELEMETRY}-1}}",
        f"export PYTHONPATH {NO_TELEMETRY}",
        f'exec {python} -s {predict} "$@"',
    ]
    path.write_bytes(os.fsencode("\n".join([*lines, ""])))
    path.chmod(path.stat().st_mode | 0o111 & ~current_umask())


def current_umask() -> int:
    """The permissions that new files do not get."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def say(message: str) -> None:
    """Print a line of progress."""
    sys.stdout.write(f"{printable(message)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
