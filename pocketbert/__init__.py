"""The front door: recipe in, bundles and report out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.bundle.runtime import Classifier

__version__ = "0.10.0"


def load(
    bundle: str | Path,
    *,
    num_threads: int | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    golden_check: bool = True,
) -> "Classifier":
    """Load a bundle for prediction, without torch: `load("bundle").predict(["some text"])`.

    It runs the code of the bundle's predict.py, but that of this version. `num_threads`: by default one per physical
    core. `providers`: onnxruntime's execution providers. `golden_check`: False skips the golden examples. Raises
    ValueError for a folder that is no bundle, for changed files, and for a processor with other outputs.
    """
    from export.bundle.runtime import Classifier  # not above: `import pocketbert` loads no onnxruntime

    return Classifier(bundle, num_threads=num_threads, providers=providers, golden_check=golden_check)
