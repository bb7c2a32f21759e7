"""Sampling: which words of a text are replaced, and by which of their candidates."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compress.augmentation.candidates import Source, WordSlot

SAMPLES_PER_TEXT = 5  # times the requested number, before we give up on a text


class Replacement(NamedTuple):
    """`text[start:end]` of the augmented text replaces the word `was` of the original. `source`: of the new word."""

    start: int
    end: int
    was: str
    source: Source


class AugmentedText(NamedTuple):
    """A text with some of its words replaced."""

    text: str
    replaced: tuple[Replacement, ...]


class SampledTexts(NamedTuple):
    """`texts`: all different from one another and from the original. `num_repeats`: samples that were not."""

    texts: list[AugmentedText]
    num_repeats: int


def sample_augmented_texts(
    text: str, slots: Sequence[WordSlot], *, count: int, probability: float, seed: int, other_text: str = ""
) -> SampledTexts:
    """Sample up to `count` augmented texts. Each slot is replaced with `probability`, by a uniformly sampled candidate.

    Random numbers come from a counter-based generator (Philox; Salmon et al. 2011), keyed by (seed, text, other_text).
    `other_text`: the other text of a pair. A sample that repeats the text or an earlier sample is discarded. At most
    5 * `count` samples are taken.
    """
    if not slots or not count or not probability:
        return SampledTexts([], 0)
    numbers = _generator(seed, text, other_text).random((SAMPLES_PER_TEXT, count, len(slots), 2))
    sizes = np.array([len(slot.candidates) for slot in slots])
    choices = np.where(numbers[..., 0] < probability, (numbers[..., 1] * sizes).astype(np.int64), -1)
    samples: dict[str, AugmentedText] = {}
    num_repeats = 0
    for choice in choices.reshape(-1, len(slots)).tolist():
        if len(samples) == count:
            break
        augmented = apply_replacements(text, slots, choice)
        if augmented.text == text or augmented.text in samples:
            num_repeats += 1
        else:
            samples[augmented.text] = augmented
    return SampledTexts(list(samples.values()), num_repeats)


def apply_replacements(text: str, slots: Sequence[WordSlot], choices: Sequence[int]) -> AugmentedText:
    """Replace the word of each slot. `choices`: the index of a candidate per slot; -1 keeps the word."""
    parts, replaced = [], []
    end_of_last = length = 0
    for slot, choice in zip(slots, choices, strict=True):
        if choice < 0:
            continue
        before, new = text[end_of_last : slot.start], slot.candidates[choice]
        parts += [before, new]
        length += len(before) + len(new)
        replaced.append(Replacement(length - len(new), length, text[slot.start : slot.end], slot.source))
        end_of_last = slot.end
    return AugmentedText("".join([*parts, text[end_of_last:]]), tuple(replaced))


def _generator(seed: int, text: str, other_text: str) -> np.random.Generator:
    key = f"{seed}\0{text}\0{other_text}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(key, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
