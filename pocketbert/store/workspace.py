"""Where a stage builds, and what of it survives a kill; the only place where stages meet other processes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from compress.common import distributed

if TYPE_CHECKING:
    import numpy as np

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a stage builds. `output` becomes the stage's folder; `checkpoints` survives a kill until then.

    Several processes may build one stage together. The workspace knows them, so that stages need not.
    """

    output: Path
    checkpoints: Path

    def kept(self, name: str) -> Path:
        """A file or folder next to the checkpoints, which survives a kill as they do."""
        return self.checkpoints.with_name(name)

    def save(self, write: Callable[[Path], None]) -> None:
        """The main process calls `write(output)`; all wait until it has."""
        if distributed.is_main():
            write(self.output)
        distributed.broadcast_from_main(None)

    def decide(self, compute: Callable[[], Value]) -> Value:
        """The main process computes, and all get its value."""
        if distributed.is_main():
            return distributed.broadcast_from_main(compute())
        return distributed.broadcast_from_main(None)  # type: ignore[return-value]  # the main one's value takes its place

    def computed_once(self, name: str, compute: Callable[[], "np.ndarray"]) -> "np.ndarray":
        """An array that all processes compute together, kept until the stage is done for a run that is cut off."""
        import numpy as np

        path = self.kept(name).with_suffix(".npy")
        if distributed.broadcast_from_main(not path.exists()):
            array = compute()
            if distributed.is_main():
                partial = path.with_suffix(".partial.npy")
                np.save(partial, array)
                partial.rename(path)
            distributed.broadcast_from_main(None)  # wait until it is written
        return np.load(path)
