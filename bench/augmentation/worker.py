"""The child process that finds candidates and draws variants by one method, and reports how long it took."""

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bench.augmentation import reference
from bench.augmentation.ladder import AugmentationMemory, RoundReply, RoundTiming, WordCandidates, WorkerSpec
from bench.measurement.worker_process import as_record, serve_requests
from bench.timing.worker import peak_rss_bytes
from compress.augmentation import dataset
from compress.augmentation.candidates import Candidates, TextCandidates
from compress.augmentation.masked_lm import MaskedLM
from compress.augmentation.sampling import sample_augmented_texts
from compress.augmentation.word_vectors import Vectors, load_vectors
from compress.augmentation.words import load_stop_words
from compress.data.columns import Split
from compress.models import loading

FIRST_WRITTEN_WORDS = 100_000  # of the vector table


class Worker:
    """Augments by one method. `spec`: a `WorkerSpec`, as it comes through the pipe."""

    def __init__(self, spec: object) -> None:
        given = as_record(WorkerSpec, spec)
        torch.set_num_threads(given.num_threads)
        self.kind, self.options = given.method.kind, given.options
        tokenizer = loading.load_tokenizer(self.options.masked_lm)
        model = loading.load_masked_lm(self.options.masked_lm)
        self.vectors: Vectors | None = None
        if self.options.vectors is not None:
            limit = FIRST_WRITTEN_WORDS if self.kind == "first written" else self.options.max_vectors
            self.vectors = load_vectors(self.options.vectors, cache=Path(given.cache), max_words=limit)
        self.candidates = Candidates(
            masked_lm=MaskedLM(model, tokenizer, precision=given.method.precision),
            vectors=self.vectors,
            stop_words=load_stop_words(self.options.stop_words),
            count=self.options.candidates,
            max_length=self.options.max_length,
        )

    def facts(self) -> int:
        """Peak memory so far, in bytes."""
        return peak_rss_bytes()

    def vary(self, texts: list[str]) -> RoundReply:
        """Find the candidates of some texts, then draw their variants."""
        started = time.perf_counter()
        if self.kind == "first written":
            words = self._first_written(texts)
            looked_up = time.perf_counter()
            num_variants = sum(self._drawn_as_first_written(*each) for each in zip(texts, words, strict=True))
            num_words, candidates = sum(map(len, words)), []
        else:
            offered = self._candidates_of(texts)
            looked_up = time.perf_counter()
            num_variants = sum(self._drawn(*each) for each in zip(texts, offered, strict=True))
            num_words, candidates = sum(len(each.places) for each in offered), _from_masked_lm(offered)
        timing = RoundTiming(
            candidates_s=looked_up - started,
            variants_s=time.perf_counter() - looked_up,
            num_words=num_words,
            num_variants=num_variants,
        )
        return RoundReply(timing=timing, candidates=candidates)

    def write(self, texts: list[str]) -> AugmentationMemory:
        """Write the variants of so many texts."""
        before = peak_rss_bytes()
        draw = dataset.SamplingOptions(variants=self.options.variants, probability=self.options.probability, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            split = Split(texts=texts, pairs=None, labels=np.zeros(len(texts), dtype=int))
            counts = dataset.augment_dataset(split, self.candidates, draw, Path(folder))
        return AugmentationMemory(
            num_texts=len(texts), num_rows=counts.rows, before_bytes=before, peak_rss_bytes=peak_rss_bytes()
        )

    def _candidates_of(self, texts: Sequence[str]) -> list[TextCandidates]:
        if self.kind == "ours":
            return self.candidates.of(texts, self.candidates.nearest_words(texts))
        return reference.one_at_a_time(self.candidates, texts)

    def _drawn(self, text: str, offered: TextCandidates) -> int:
        """How many variants a text gets."""
        options = self.options
        drawn = sample_augmented_texts(
            text, offered.places, count=options.variants, probability=options.probability, seed=0
        )
        return len(drawn.variants)

    def _first_written(self, texts: Sequence[str]) -> list[list[list[str]]]:
        table = None if self.vectors is None else self.vectors.keyed
        return reference.as_first_written(self.candidates, table, texts)

    def _drawn_as_first_written(self, text: str, words: Sequence[Sequence[str]]) -> int:
        """How many variants a text gets by a draw for each word of each; those that repeat another are dropped."""
        seen = {text}
        for _ in range(self.options.variants):
            made = []
            for candidates in words:
                word = random.choice(candidates) if candidates else ""
                made.append(word if random.random() < self.options.probability else "")
            seen.add(" ".join(made))
        return len(seen) - 1


def _from_masked_lm(offered: Sequence[TextCandidates]) -> list[WordCandidates]:
    return [
        WordCandidates(text=number, start=place.start, candidates=list(place.candidates))
        for number, each in enumerate(offered)
        for place in each.places
        if place.source == "masked_lm"
    ]


if __name__ == "__main__":
    serve_requests(Worker)
