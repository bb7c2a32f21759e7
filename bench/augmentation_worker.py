"""The process that finds candidates and draws variants in one way, and tells how long it took."""

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import plain_augmentation
from bench.children import serve
from bench.worker import peak_rss_bytes
from compress import models
from compress.augment import augment
from compress.augment.candidates import Candidates, Found
from compress.augment.masked_lm import MaskedLM
from compress.augment.variants import draw_variants
from compress.augment.vectors import load_vectors
from compress.augment.words import load_stop_words
from compress.cells import Split

FIRST_WRITTEN_WORDS = 100_000  # of the vector table


class Worker:
    """`way`: "plain", "first written" or "ours"; `precision`: of ours."""

    def __init__(self, *, way: str, precision: str, spec: dict[str, Any], num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        self.way, self.spec = way, spec
        tokenizer = models.load_tokenizer(spec["masked_lm"])
        self.masked_lm = MaskedLM(models.load_masked_lm(spec["masked_lm"]), tokenizer, precision=precision)  # type: ignore[arg-type]
        self.stop_words = load_stop_words(spec["stop_words"])
        limit = FIRST_WRITTEN_WORDS if way == "first written" else spec["max_vectors"]
        self.vectors = spec["vectors"] and load_vectors(spec["vectors"], cache=Path(spec["cache"]), max_words=limit)
        self.candidates = Candidates(
            masked_lm=self.masked_lm,
            vectors=self.vectors or None,
            stop_words=self.stop_words,
            count=spec["candidates"],
            max_length=spec["max_length"],
        )

    def facts(self) -> dict[str, Any]:
        """Peak memory so far, in bytes."""
        return {"peak_rss_bytes": peak_rss_bytes()}

    def vary(self, texts: list[str]) -> dict[str, Any]:
        """Seconds for the candidates of some texts, and for their variants; how many words were looked up, how many
        variants came out; and the candidates of the masked language model, by text and place.
        """
        started = time.perf_counter()
        if self.way == "first written":
            words = self._first_written(texts)
            looked_up = time.perf_counter()
            num_variants = sum(
                _drawn_as_first_written(text, its, self.spec) for text, its in zip(texts, words, strict=True)
            )
            asked: list[Any] = []
            num_words = sum(map(len, words))
        else:
            found = self._found(texts)
            looked_up = time.perf_counter()
            num_variants = sum(
                len(
                    draw_variants(
                        text, each.places, count=self.spec["variants"], probability=self.spec["probability"], seed=0
                    ).variants
                )
                for text, each in zip(texts, found, strict=True)
            )
            num_words = sum(len(each.places) for each in found)
            asked = [
                [number, place.start, list(place.candidates)]
                for number, each in enumerate(found)
                for place in each.places
                if place.source == "masked_lm"
            ]
        ended = time.perf_counter()
        return {
            "candidates_s": looked_up - started,
            "variants_s": ended - looked_up,
            "num_words": num_words,
            "num_variants": num_variants,
            "asked": asked,
        }

    def write(self, texts: list[str]) -> dict[str, Any]:
        """Write the variants of so many texts; peak memory before and after, in bytes."""
        before = peak_rss_bytes()
        draw = augment.Draw(variants=self.spec["variants"], probability=self.spec["probability"], seed=0)
        with tempfile.TemporaryDirectory() as folder:
            split = Split(texts=texts, pairs=None, labels=np.zeros(len(texts), dtype=int))
            counts = augment.augment(split, self.candidates, draw, Path(folder))
        return {"rows": counts.rows, "before_bytes": before, "peak_rss_bytes": peak_rss_bytes()}

    def _found(self, texts: Sequence[str]) -> list[Found]:
        if self.way == "ours":
            return self.candidates.of(texts, self.candidates.nearest_words(texts))
        return plain_augmentation.one_at_a_time(self.candidates, texts)

    def _first_written(self, texts: Sequence[str]) -> list[list[list[str]]]:
        table = None if self.vectors is None else self.vectors.keyed
        return plain_augmentation.as_first_written(self.candidates, table, texts)


def _drawn_as_first_written(text: str, words: Sequence[Sequence[str]], spec: dict[str, Any]) -> int:
    """A draw for each word of each variant; variants that come again are dropped."""
    seen = {text}
    for _ in range(spec["variants"]):
        made = []
        for candidates in words:
            word = random.choice(candidates) if candidates else ""
            made.append(word if random.random() < spec["probability"] else "")
        seen.add(" ".join(made))
    return len(seen) - 1


if __name__ == "__main__":
    serve(Worker)
