"""The teacher, the tokenised task and the scores of models, which the training stages share. Loads torch."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.augmentation import dataset
from compress.data.arrow_shards import token_dataset_of_shards
from compress.data.columns import Split
from compress.data.metrics import positive_class
from compress.data.task_types import task_type
from compress.data.tasks import Task
from compress.data.tokenization import TokenDataset, encode_split
from compress.distillation.successive_halving import Trained
from compress.label_signal import signal_p_value
from compress.models import loading
from compress.models.inference import predict_logits
from compress.results import SplitScores
from pocketbert.recipe.sections import Recipe


@dataclass(frozen=True, kw_only=True)
class EncodedSplits:
    """The tokenised task."""

    train: TokenDataset
    dev: TokenDataset
    test: TokenDataset


class TaskData:
    """The teacher, its tokenizer and the tokenised task. Each is loaded on first use."""

    def __init__(self, recipe: Recipe, task: Task, folder: Path) -> None:
        self.recipe = recipe
        self.task = task
        self.folder = folder

    @cached_property
    def teacher(self) -> PreTrainedModel:
        """The fine-tuned teacher of the teacher stage."""
        return loading.load_classifier(str(self.folder / "teacher" / "model"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer, which is also the student's."""
        return loading.load_tokenizer(self.recipe.teacher.model or self.recipe.teacher.base or "")

    @cached_property
    def encoded(self) -> EncodedSplits:
        """Train, dev and test in the teacher's tokens."""
        return self.encoded_with(self.tokenizer)

    def encoded_with(self, tokenizer: PreTrainedTokenizerBase) -> EncodedSplits:
        """Train, dev and test in the tokens of another tokenizer."""
        length = self.task.max_length
        train, dev, test = (
            encode_split(split, tokenizer, max_length=length)
            for split in (self.task.train, self.task.dev, self.task.test)
        )
        return EncodedSplits(train=train, dev=dev, test=test)

    @property
    def original_texts(self) -> TokenDataset:
        """The train texts, without labels."""
        return self.encoded.train.without_column("labels")

    @cached_property
    def training_texts(self) -> TokenDataset:
        """The texts of both steps of task distillation: the train texts, with augmented ones if there are any."""
        if self.recipe.augment is None:
            return self.original_texts
        return token_dataset_of_shards(dataset.shards_in(self.folder / "augment" / "tokens"), self.tokenizer)

    def scores(
        self, model: PreTrainedModel, encoded: EncodedSplits | None = None, *, dev_logits: np.ndarray | None = None
    ) -> SplitScores:
        """The metric on dev and test. `encoded`: the splits in the model's tokens, if these are not the teacher's.

        `dev_logits`: of the model on dev, if they are known.
        """
        rows = encoded or self.encoded
        dev = self._score(self.task.dev, predict_logits(model, rows.dev) if dev_logits is None else dev_logits)
        return SplitScores(dev=dev, test=self._score(self.task.test, predict_logits(model, rows.test)))

    def dev_score(self, model: PreTrainedModel, *, encoded: EncodedSplits | None = None) -> float:
        """The metric on dev, which selects the best epoch."""
        return self._score(self.task.dev, predict_logits(model, (encoded or self.encoded).dev))

    def dev_results(self, logits: np.ndarray) -> Trained:
        """The results of a candidate of a search, from its logits on dev, (rows, outputs)."""
        labels, type_of_task = self.task.dev.labels, task_type(self.task.type)
        loss = float(type_of_task.label_loss(torch.from_numpy(logits), torch.from_numpy(labels)).mean())
        return Trained(
            dev_score=self._score(self.task.dev, logits),
            dev_loss=loss if math.isfinite(loss) else None,
            p_value=signal_p_value(self.task.type, labels, logits),
        )

    def _score(self, split: Split, logits: np.ndarray) -> float:
        section, predictions = self.recipe.task, task_type(self.task.type).decide(logits)
        positive = positive_class(section.metric, section.positive, self.task.labels)
        return self.task.score(section.metric, split.labels, predictions, positive=positive)
