"""What the training stages share: the teacher, the token rows, scores, and how a stage trains. Loads torch."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress import models
from compress.augment import augment
from compress.blocks import pack
from compress.cells import Split
from compress.encoding import Encoded, encode_split
from compress.errors import UserError
from compress.inference import predict_logits
from compress.results import SplitScores
from compress.shards import encoded_shards
from compress.task_types import task_type
from compress.tasks import Task
from compress.training import Schedule, Setting
from pocketbert.augment_keys import TrainHeadSection
from pocketbert.corpora import error_context
from pocketbert.recipe import Recipe
from pocketbert.stages.context import StageContext
from pocketbert.training_keys import GeneralSection, StageSection
from pocketbert.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class EncodedSplits:
    """The task as token rows."""

    train: Encoded
    dev: Encoded
    test: Encoded


class TaskData:
    """The teacher and its tokenizer, and the task as token rows; each is loaded when it is first asked for."""

    def __init__(self, recipe: Recipe, task: Task, folder: Path) -> None:
        self.recipe = recipe
        self.task = task
        self.folder = folder

    @cached_property
    def teacher(self) -> PreTrainedModel:
        """The fine-tuned teacher, as the teacher stage left it."""
        return models.load_classifier(str(self.folder / "teacher" / "model"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer, which is also the student's."""
        return models.load_tokenizer(self.recipe.teacher.model or self.recipe.teacher.base or "")

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
    def original_texts(self) -> Encoded:
        """Train's texts without their labels."""
        return self.encoded.train.without_column("labels")

    @cached_property
    def training_texts(self) -> Encoded:
        """What both stages of task distillation train on: train's texts, augmented where the recipe says so."""
        if self.recipe.augment is None:
            return self.original_texts
        return encoded_shards(augment.shards_in(self.folder / "augment" / "tokens"), self.tokenizer)

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


def token_blocks(
    context: StageContext,
    workspace: Workspace,
    corpus: Iterable[str],
    section: GeneralSection | TrainHeadSection,
    tokenizer: PreTrainedTokenizerBase,
    *,
    kept_as: str = "blocks",
    at_least: int = 1,
) -> Encoded:
    """Running text as token blocks on disk. Raises UserError where it makes fewer than `at_least`."""
    with error_context(section):
        texts = pack(
            corpus,
            tokenizer,
            workspace.kept(kept_as),
            max_length=section.max_length,
            on_progress=lambda num_texts: context.console.print(f"  {kept_as}: {num_texts:,} texts read"),
        )
    if len(texts.lengths) < at_least:
        raise UserError(
            f"{section.key}.corpus: its text makes {len(texts.lengths)} of the {at_least} blocks of one batch "
            f"({section.max_length} tokens each); expected running text, thousands of blocks"
        )
    return texts


def setting_of(context: StageContext, workspace: Workspace, title: str) -> Setting:
    """How a stage of this run trains, under the name that `title` gives its progress and curves."""
    training = context.recipe.training
    return Setting(
        title=title,
        seed=context.recipe.seed,
        checkpoints=workspace.checkpoints,
        tensorboard=context.folder / "tensorboard" / title,
        precision=training.precision,
        compiled=training.compile,
        console=context.console,
    )


def schedule_of(section: StageSection) -> Schedule:
    """A stage's section of the recipe, as the trainer takes it."""
    return Schedule(**{field.name: getattr(section, field.name) for field in fields(Schedule)})
