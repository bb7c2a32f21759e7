"""Changes a bundle and its SHA256SUMS together, as an attacker without a signature can."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attack.attack import Case, Command, Scratch

SUMS = "SHA256SUMS"
Content = dict[str, Any]


def verify_and_predict(
    scratch: Scratch, bundle: Path, *, source: str, is_new_interpreter: bool = False, **conditions: Any
) -> Case:
    """The two commands. predict.py must refuse, or give the answers of the sound bundle `source`."""
    return Case(commands=[verify(bundle), predict(scratch, bundle, source, is_new_interpreter)], **conditions)


def verify(bundle: Path) -> Command:
    """`pocketbert verify`."""
    return Command(words=["verify", bundle])


def predict(scratch: Scratch, bundle: Path, source: str, is_new_interpreter: bool = False) -> Command:
    """predict.py of the bundle."""
    return Command(
        script=bundle / "predict.py",
        stdin=scratch.material.lines(source),
        expected_stdout=scratch.material.answers(source),
        is_new_interpreter=is_new_interpreter,
    )


def seal(bundle: Path) -> None:
    """Write SHA256SUMS for all regular files of the bundle."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{_digest(path)}  {path.relative_to(bundle).as_posix()}\n" for path in files]
    (bundle / SUMS).write_text("".join(lines), encoding="utf-8", errors="surrogateescape")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def change_json(path: Path, change: Callable[[Content], object]) -> None:
    """Change the content of a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def write(path: Path, content: str | bytes) -> None:
    """Write text as UTF-8, or bytes."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", errors="surrogatepass"))
