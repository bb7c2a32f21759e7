"""What replacing words does to the label, as the teacher sees it."""

from typing import Any

import numpy as np
from scipy.special import softmax


def drift(variants: np.ndarray, originals: np.ndarray) -> dict[str, Any]:
    """The teacher's logits of some variants, and of the texts each was made from, both (variants, classes).

    `flips`: the share with another label. Of a regression, `mean_change` of the number beside its `spread`, the
    standard deviation over the originals.
    """
    if variants.shape[1] == 1:
        change = float(np.abs(variants - originals).mean())
        return {"num_variants": len(variants), "mean_change": change, "spread": float(originals.std())}
    flips = variants.argmax(axis=1) != originals.argmax(axis=1)
    return {"num_variants": len(variants), "flips": float(flips.mean())}


def flipped_above(variants: np.ndarray, originals: np.ndarray, confidence: float) -> np.ndarray:
    """(variants,) where the teacher gives another label, with a probability of more than `confidence`."""
    answers = variants.argmax(axis=1)
    sure = softmax(variants.astype(np.float64), axis=1)[np.arange(len(variants)), answers] > confidence
    return sure & (answers != originals.argmax(axis=1))
