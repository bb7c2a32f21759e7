"""The working folder of a stage. It also hides from the stage that several processes may build it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from compress.common import distributed
from compress.common.files import replacing
from compress.common.seals import is_intact, seal_file

if TYPE_CHECKING:
    import numpy as np

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The folders of a stage at work. `output` becomes the stage's folder. `checkpoints` survives an interruption."""

    output: Path
    checkpoints: Path

    def kept_path(self, name: str) -> Path:
        """A path next to the checkpoints, whose content survives an interruption as they do."""
        return self.checkpoints.with_name(name)

    def save(self, write: Callable[[Path], None]) -> None:
        """Call `write(output)` in the main process, while the others wait."""
        if distributed.is_main():
            write(self.output)
        distributed.broadcast_from_main(None)

    def decide(self, compute: Callable[[], Value]) -> Value:
        """Compute in the main process, and return its value in all processes."""
        if distributed.is_main():
            return distributed.broadcast_from_main(compute())
        return distributed.broadcast_from_main(None)  # type: ignore[return-value]  # returns the main process's value

    def computed_once(self, name: str, compute: Callable[[], "np.ndarray"]) -> "np.ndarray":
        """An array that all processes compute together, once: an interrupted stage reads it back when it resumes.

        A damaged file is reported and computed again.
        """
        import numpy as np

        path = self.kept_path(name).with_suffix(".npy")
        if self.decide(lambda: not is_intact(path)):
            array = compute()
            if distributed.is_main():
                with replacing(path) as partial, partial.open("wb") as file:
                    np.save(file, array)
                seal_file(path)
            distributed.broadcast_from_main(None)  # wait for the file
        return np.load(path, allow_pickle=False)
