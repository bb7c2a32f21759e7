"""What the training stages share: the teacher, the token rows, scores, and how a stage trains. Loads torch."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.augmentation import dataset
from compress.data.arrow_shards import token_dataset_of_shards
from compress.data.columns import Split
from compress.data.task_types import task_type
from compress.data.tasks import Task
from compress.data.tokenization import TokenDataset, encode_split
from compress.models import loading
from compress.models.inference import predict_logits
from compress.results import SplitScores
from pocketbert.recipe.sections import Recipe


@dataclass(frozen=True, kw_only=True)
class EncodedSplits:
    """The task as token rows."""

    train: TokenDataset
    dev: TokenDataset
    test: TokenDataset


class TaskData:
    """The teacher and its tokenizer, and the task as token rows; each is loaded when it is first asked for."""

    def __init__(self, recipe: Recipe, task: Task, folder: Path) -> None:
        self.recipe = recipe
        self.task = task
        self.folder = folder

    @cached_property
    def teacher(self) -> PreTrainedModel:
        """The fine-tuned teacher, as the teacher stage left it."""
        return loading.load_classifier(str(self.folder / "teacher" / "model"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer, which is also the student's."""
        return loading.load_tokenizer(self.recipe.teacher.model or self.recipe.teacher.base or "")

    @cached_property
    def encoded(self) -> EncodedSplits:
        """Train, dev and test as the teacher's token rows."""
        return self.encoded_with(self.tokenizer)

    def encoded_with(self, tokenizer: PreTrainedTokenizerBase) -> EncodedSplits:
        """Train, dev and test as token rows of another tokenizer."""
        length = self.task.max_length
        train, dev, test = (
            encode_split(split, tokenizer, max_length=length)
            for split in (self.task.train, self.task.dev, self.task.test)
        )
        return EncodedSplits(train=train, dev=dev, test=test)

    @property
    def original_texts(self) -> TokenDataset:
        """Train's texts without their labels."""
        return self.encoded.train.without_column("labels")

    @cached_property
    def training_texts(self) -> TokenDataset:
        """What both stages of task distillation train on: train's texts, augmented where the recipe says so."""
        if self.recipe.augment is None:
            return self.original_texts
        return token_dataset_of_shards(dataset.shards_in(self.folder / "augment" / "tokens"), self.tokenizer)

    def scores(self, model: PreTrainedModel, encoded: EncodedSplits | None = None) -> SplitScores:
        """The metric on dev and test. `encoded`: the splits, where the model's tokens are not the teacher's."""
        rows = encoded or self.encoded
        dev = self._score(self.task.dev, predict_logits(model, rows.dev))
        return SplitScores(dev=dev, test=self._score(self.task.test, predict_logits(model, rows.test)))

    def dev_score(self, model: PreTrainedModel, *, encoded: EncodedSplits | None = None) -> float:
        """The metric on dev, by which epochs are chosen."""
        return self._score(self.task.dev, predict_logits(model, (encoded or self.encoded).dev))

    def _score(self, split: Split, logits: np.ndarray) -> float:
        kind = task_type(self.task.type)
        return kind.score(self.recipe.task.metric, split.labels, kind.decide(logits), len(self.task.labels))
