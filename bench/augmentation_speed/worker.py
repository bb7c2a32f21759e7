"""The worker process that looks up candidates and samples augmented texts with one method, and times both."""

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bench.augmentation_speed import reference
from bench.augmentation_speed.ladder import (
    AugmentationMemory,
    AugmentationWorkerSpec,
    RoundReply,
    RoundTiming,
    WordCandidates,
)
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

FIRST_WRITTEN_WORDS = 100_000  # rows of the vector table that the original scripts search


class AugmentationWorker:
    """Augments texts with one method. `spec`: an `AugmentationWorkerSpec` as JSON."""

    def __init__(self, spec: object) -> None:
        own_spec = as_record(AugmentationWorkerSpec, spec)
        torch.set_num_threads(own_spec.num_threads)
        self.kind, self.options = own_spec.method.kind, own_spec.options
        tokenizer = loading.load_tokenizer(self.options.masked_lm)
        model = loading.load_masked_lm(self.options.masked_lm)
        self.vectors: Vectors | None = None
        if self.options.vectors is not None:
            max_words = FIRST_WRITTEN_WORDS if self.kind == "first written" else self.options.max_vectors
            self.vectors = load_vectors(self.options.vectors, cache=Path(own_spec.cache), max_words=max_words)
        self.candidates = Candidates(
            masked_lm=MaskedLM(model, tokenizer, precision=own_spec.method.precision),
            vectors=self.vectors,
            stop_words=load_stop_words(self.options.stop_words),
            count=self.options.candidates,
            max_length=self.options.max_length,
        )

    def facts(self) -> int:
        """Peak resident memory so far, in bytes."""
        return peak_rss_bytes()

    def augment(self, texts: list[str]) -> RoundReply:
        """Look up the candidates of the texts, then sample their augmented texts."""
        started = time.perf_counter()
        if self.kind == "first written":
            words = self._candidates_as_first_written(texts)
            lookup_ended = time.perf_counter()
            num_variants = sum(self._sample_as_first_written(*row) for row in zip(texts, words, strict=True))
            num_words, candidates = sum(map(len, words)), []
        else:
            text_candidates = self._candidates_of(texts)
            lookup_ended = time.perf_counter()
            num_variants = sum(self._sample(*row) for row in zip(texts, text_candidates, strict=True))
            num_words = sum(len(each.slots) for each in text_candidates)
            candidates = _from_masked_lm(text_candidates)
        timing = RoundTiming(
            candidates_s=lookup_ended - started,
            variants_s=time.perf_counter() - lookup_ended,
            num_words=num_words,
            num_variants=num_variants,
        )
        return RoundReply(timing=timing, candidates=candidates)

    def write(self, texts: list[str]) -> AugmentationMemory:
        """Write the augmented rows of the texts to a data set. Returns the peak memory."""
        before_bytes = peak_rss_bytes()
        sampling = dataset.SamplingOptions(
            copies_per_text=self.options.variants, probability=self.options.probability, seed=0
        )
        with tempfile.TemporaryDirectory() as folder:
            split = Split(texts=texts, pairs=None, labels=np.zeros(len(texts), dtype=int))
            counts = dataset.augment_dataset(split, self.candidates, sampling, Path(folder))
        return AugmentationMemory(
            num_texts=len(texts), num_rows=counts.rows, before_bytes=before_bytes, peak_rss_bytes=peak_rss_bytes()
        )

    def _candidates_of(self, texts: Sequence[str]) -> list[TextCandidates]:
        if self.kind == "ours":
            return self.candidates.of(texts, self.candidates.nearest_words(texts))
        return reference.one_at_a_time(self.candidates, texts)

    def _sample(self, text: str, candidates: TextCandidates) -> int:
        """Sample the augmented texts of a text. Returns their number."""
        options = self.options
        samples = sample_augmented_texts(
            text, candidates.slots, count=options.variants, probability=options.probability, seed=0
        )
        return len(samples.texts)

    def _candidates_as_first_written(self, texts: Sequence[str]) -> list[list[list[str]]]:
        table = None if self.vectors is None else self.vectors.keyed
        return reference.as_first_written(self.candidates, table, texts)

    def _sample_as_first_written(self, text: str, words: Sequence[Sequence[str]]) -> int:
        """Sample augmented texts. Returns their number without duplicates. `words`: the candidates of each word."""
        augmented_texts = {text}
        for _ in range(self.options.variants):
            replacements = []
            for candidates in words:
                word = random.choice(candidates) if candidates else ""
                replacements.append(word if random.random() < self.options.probability else "")
            augmented_texts.add(" ".join(replacements))
        return len(augmented_texts) - 1


def _from_masked_lm(text_candidates: Sequence[TextCandidates]) -> list[WordCandidates]:
    """The candidates that come from the masked language model."""
    return [
        WordCandidates(text=number, start=slot.start, candidates=list(slot.candidates))
        for number, candidates in enumerate(text_candidates)
        for slot in candidates.slots
        if slot.source == "masked_lm"
    ]


if __name__ == "__main__":
    serve_requests(AugmentationWorker)
