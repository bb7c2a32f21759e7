"""The draw: which words of a variant are replaced, and by which of their candidates."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compress.augmentation.candidates import Source, WordSlot

MOST_DRAWS = 5  # times as many as wanted, before a text is held to have no more


class Replacement(NamedTuple):
    """`variant[start:end]` stands where the text had the word `was`; it came from `source`."""

    start: int
    end: int
    was: str
    source: Source


class AugmentedText(NamedTuple):
    """A text with some of its words replaced."""

    text: str
    replaced: tuple[Replacement, ...]


class SampledTexts(NamedTuple):
    """`variants`: all different, none equal to the text. `num_again`: draws that gave one of those again."""

    variants: list[AugmentedText]
    num_again: int


def sample_augmented_texts(
    text: str, places: Sequence[WordSlot], *, count: int, probability: float, seed: int, beside: str = ""
) -> SampledTexts:
    """Up to `count` variants: each word of `places` replaced with `probability`, by a candidate drawn uniformly.

    The numbers come from a counter-based generator (Philox; Salmon et al. 2011) keyed by (seed, text, the text
    `beside` it in its row); the counter is (variant, position). What equals the text or an earlier variant is drawn
    again, until five times as many were drawn as were wanted.
    """
    if not places or not count or not probability:
        return SampledTexts([], 0)
    numbers = _generator(seed, text, beside).random((MOST_DRAWS, count, len(places), 2))
    sizes = np.array([len(place.candidates) for place in places])
    picks = np.where(numbers[..., 0] < probability, (numbers[..., 1] * sizes).astype(np.int64), -1)
    seen: dict[str, AugmentedText] = {}
    num_again = 0
    for pick in picks.reshape(-1, len(places)).tolist():
        if len(seen) == count:
            break
        variant = apply_replacements(text, places, pick)
        if variant.text == text or variant.text in seen:
            num_again += 1
        else:
            seen[variant.text] = variant
    return SampledTexts(list(seen.values()), num_again)


def apply_replacements(text: str, places: Sequence[WordSlot], picks: Sequence[int]) -> AugmentedText:
    """The text with the candidates that are picked, by number, in their places; -1 leaves a word as it is."""
    parts, made = [], []
    end_of_last = length = 0
    for place, pick in zip(places, picks, strict=True):
        if pick < 0:
            continue
        before, new = text[end_of_last : place.start], place.candidates[pick]
        parts += [before, new]
        length += len(before) + len(new)
        made.append(Replacement(length - len(new), length, text[place.start : place.end], place.source))
        end_of_last = place.end
    return AugmentedText("".join([*parts, text[end_of_last:]]), tuple(made))


def _generator(seed: int, text: str, beside: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}\0{text}\0{beside}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
