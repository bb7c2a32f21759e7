"""A look at augmented data: some variants beside their originals, and what became of the words in all of them."""

from pathlib import Path
from typing import Any

import numpy as np

from bench import augmented
from compress.augment import augment
from compress.shards import read_shards
from pocketbert.runs import read_manifest


def look_at(folder: Path, *, count: int, seed: int) -> dict[str, Any]:
    """`count` variants, drawn by the seed, as plain values, and the stage's figures. `folder`: the augment stage's."""
    rows = read_shards(augment.shards_in(folder / "texts"))
    made = augment.origins_of(folder / "texts")
    variants = np.random.default_rng(seed).permutation(np.flatnonzero(made.is_variant))[:count]
    examples = []
    for number in np.sort(variants).tolist():
        variant, original = rows[number], rows[int(made.row[number])]
        column = "pair" if variant["varied"] == 1 else "text"
        examples.append(
            {
                "row": variant["row"],
                "varied": variant["varied"],
                "takes_pairs": "pair" in rows.column_names,
                "original": original[column],
                "text": variant[column],
                "replaced": variant["replaced"],
            }
        )
    facts = read_manifest(folder.parent)["augment"].metrics
    return {
        "folder": str(folder / "texts"),
        "examples": examples,
        "facts": facts,
        "told": augmented.told({"augment": facts}),
    }
