"""The sound files that attacks copy and damage: models, tables, bundles and a finished run, all of a tiny BERT."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

VARIANTS = ("fp32", "int8-dynamic")
PAIR = "pair"


@dataclass(frozen=True, kw_only=True)
class Material:
    """Paths below one folder. `build.py` fills it."""

    root: Path

    @property
    def models(self) -> Path:
        """Model folders: base, teacher, masked_lm and other architectures."""
        return self.root / "models"

    @property
    def reviews(self) -> Path:
        """A labelled table: text, label."""
        return self.root / "reviews.csv"

    @property
    def pairs(self) -> Path:
        """A labelled table of pairs: first, second, label."""
        return self.root / "pairs.csv"

    @property
    def texts(self) -> Path:
        """Lines for predict.py, one text per line."""
        return self.root / "texts.txt"

    @property
    def recipe(self) -> Path:
        """A recipe with every stage; its run takes seconds."""
        return self.root / "run" / "tiny.yaml"

    @property
    def run(self) -> Path:
        """The finished run of `recipe`."""
        return self.root / "run" / "runs" / "tiny"

    @property
    def run_cache(self) -> Path:
        """The cache of that run."""
        return self.root / "run" / "cache"

    def bundle(self, name: str) -> Path:
        """A sound bundle: one of VARIANTS, or PAIR."""
        return self.root / "bundles" / name

    def lines(self, name: str) -> bytes:
        """The input of predict.py for this bundle."""
        lines = self.texts.read_bytes()
        return lines if name != PAIR else b"".join(line + b"\t" + line + b"\n" for line in lines.splitlines())

    def answers(self, name: str) -> bytes:
        """The output of predict.py of the sound bundle for `lines`."""
        return (self.root / "answers" / f"{name}.jsonl").read_bytes()

    @staticmethod
    def copy(source: Path, target: Path) -> None:
        """Copy a file or folder. Links stay links."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)


def replace_text(path: Path, old: str, new: str) -> None:
    """Replace text in a file that contains it."""
    content = path.read_text(encoding="utf-8")
    assert old in content, f"{path} does not contain {old}"
    path.write_text(content.replace(old, new), encoding="utf-8")


def flip_bit(path: Path, bit: int) -> None:
    """Flip one bit of a file, counted from its first."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


def truncate(path: Path, share: float) -> None:
    """Keep only the first part of a file."""
    os.truncate(path, int(path.stat().st_size * share))
