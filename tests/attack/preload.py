"""Loads all libraries once, so that forked commands start in milliseconds, and builds the material."""

import importlib
import os
import pkgutil
import random
from collections.abc import Callable
from contextlib import suppress

from tests.attack import build
from tests.attack.attack import Scratch, environment_of
from tests.attack.material import Material
from tests.attack.runner import in_child

PACKAGES = ("compress", "export", "bench", "pocketbert")
LIBRARIES = ("accelerate", "datasets", "onnxruntime", "openpyxl", "pandas", "python_calamine", "torch")
NOT_LOADED = ("bench.peers", "triton.backend", "__main__")  # need other programs; start one


def load() -> None:
    """Import our modules and the libraries. Computes nothing: threads do not survive a fork."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    for package in PACKAGES:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
            if not any(part in module.name for part in NOT_LOADED):
                importlib.import_module(module.name)


def build_material(material: Material, *, on_progress: Callable[[str], None]) -> None:
    """Build the material in a forked process, unless its folder exists. Raises RuntimeError if that fails."""
    if (material.root / "complete").exists():
        return
    scratch = Scratch(root=material.root, logs=material.root, material=material, random=random.Random(0))
    pid = in_child(lambda: build.build(material, environment=environment_of(scratch), on_progress=on_progress))
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise RuntimeError("the sound files could not be built; see the message above")
    (material.root / "complete").touch()
