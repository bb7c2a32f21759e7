"""What each training and export stage does. Imports torch; the pipeline loads it only when a stage must run."""

from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress import distill, metrics, models, processes
from compress.augment import augment
from compress.blocks import pack
from compress.cells import Split
from compress.encoding import Encoded, encode_split
from compress.errors import UserError
from compress.inference import predict_logits
from compress.objective import LayerWeights, Objective
from compress.shape import StudentShape
from compress.shards import encoded_shards
from compress.tasks import Task, require_label_order
from compress.training import Schedule, Setting, Trained
from pocketbert.augment_keys import TrainHeadSection
from pocketbert.corpora import named, texts_of
from pocketbert.recipe import Recipe
from pocketbert.runs import Workspace
from pocketbert.training_keys import GeneralSection, LayerWiseSection, StageSection

DRIFT_VARIANTS = 2000
MOST_TEXTS_COUNTED = 500_000  # of the corpus, to see which pieces it uses


class Stages:
    """The stages of one run over one task. `folder` is the run's, where earlier stages have left their results."""

    def __init__(self, recipe: Recipe, task: Task, shape: StudentShape, folder: Path, console: Console) -> None:
        self.recipe = recipe
        self.task = task
        self.shape = shape
        self.folder = folder
        self.console = console

    # -- what stages share

    @cached_property
    def teacher(self) -> PreTrainedModel:
        """The fine-tuned teacher, as the teacher stage left it."""
        return models.load_classifier(str(self.folder / "teacher" / "model"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer, which is also the student's."""
        return models.load_tokenizer(self.recipe.teacher.model or self.recipe.teacher.base or "")

    @cached_property
    def texts(self) -> Encoded:
        """What both stages of task distillation train on: train's texts, and their variants where there are any."""
        if self.recipe.augment is None:
            return self.encoded["train"].without_column("labels")
        return encoded_shards(augment.shards_in(self.folder / "augment" / "tokens"), self.tokenizer)

    @cached_property
    def encoded(self) -> dict[str, Encoded]:
        """Train, dev and test as the teacher's token rows."""
        return self.encoded_by(self.tokenizer)

    def encoded_by(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Encoded]:
        """Train, dev and test as another tokenizer reads them."""
        splits = {"train": self.task.train, "dev": self.task.dev, "test": self.task.test}
        length = self.task.max_length
        return {name: encode_split(split, tokenizer, max_length=length) for name, split in splits.items()}

    def scores(self, model: PreTrainedModel, encoded: dict[str, Encoded]) -> dict[str, float]:
        """The metric on dev and test."""
        splits = {"dev": self.task.dev, "test": self.task.test}
        return {name: self._score(split, predict_logits(model, encoded[name])) for name, split in splits.items()}

    def _score(self, split: Split, logits: np.ndarray) -> float:
        answers = metrics.decide(logits)
        return metrics.score(self.recipe.task.metric, split.labels, answers, num_classes=len(self.task.labels))

    def blocks(
        self,
        corpus: Iterable[str],
        section: GeneralSection | TrainHeadSection,
        tokenizer: PreTrainedTokenizerBase,
        workspace: Workspace,
        *,
        kept_as: str = "blocks",
        at_least: int = 1,
    ) -> Encoded:
        """Running text as token blocks on disk. Raises UserError where it makes fewer than `at_least`."""
        with named(section):
            texts = pack(
                corpus,
                tokenizer,
                workspace.checkpoints.with_name(kept_as),
                max_length=section.max_length,
                on_progress=lambda num_texts: self.console.print(f"  {kept_as}: {num_texts:,} texts read"),
            )
        if len(texts.lengths) < at_least:
            raise UserError(
                f"{section.key}.corpus: its text makes {len(texts.lengths)} of the {at_least} blocks of one batch "
                f"({section.max_length} tokens each); expected running text, thousands of blocks"
            )
        return texts

    def setting(self, workspace: Workspace, title: str) -> Setting:
        """How a stage of this run trains, under the name that `title` gives its progress and curves."""
        return Setting(
            title=title,
            seed=self.recipe.seed,
            checkpoints=workspace.checkpoints,
            tensorboard=self.folder / "tensorboard" / title,
            precision=self.recipe.training.precision,
            compiled=self.recipe.training.compile,
            console=self.console,
        )

    # -- the stages

    def make_teacher(self, workspace: Workspace) -> dict[str, Any]:
        """Fine-tune the base, unless the recipe names a fine-tuned teacher; record its metric."""
        teacher, told = self.recipe.teacher, {}
        if teacher.model is not None:
            model = models.load_classifier(teacher.model)
            answers = metrics.decide(predict_logits(model, self.encoded["dev"]))
            require_label_order(self.task.dev, answers, self.task.labels, teacher.model)
        else:
            torch.manual_seed(self.recipe.seed)
            model = models.load_classifier(teacher.base or "", self.task.labels)
            trained = distill.fine_tune(
                model,
                self.encoded["train"],
                schedule_of(teacher.fine_tune),
                self.setting(workspace, "teacher"),
                partial(self.dev_score, encoded=self.encoded),
            )
            told = asdict(trained)
        if processes.is_main():
            models.save_model(model, self.tokenizer, workspace.output / "model")
        return {**told, "scores": self.scores(model, self.encoded), "num_parameters": models.num_parameters(model)}

    def general(self, workspace: Workspace) -> dict[str, Any]:
        """The base teacher's layers on running text."""
        section = self.recipe.distill.general
        assert section is not None
        base = models.load_encoder(self.recipe.teacher.base or str(self.folder / "teacher" / "model"))
        named = [name for name in (self.recipe.teacher.base, self.recipe.teacher.model) if name is not None]
        models.require_equal_tokenizers(*named)
        tokenizer = models.load_tokenizer(named[0])
        corpus = texts_of(section, self.task)
        texts = self.blocks(corpus, section, tokenizer, workspace, at_least=section.batch_size)
        learner = self._initialise(base, texts)
        trained = self._match_layers(learner, base, texts, section, workspace, "general")
        if processes.is_main():
            learner.save_encoder(workspace.output / "model", tokenizer)
        return {**asdict(trained), "num_rows": len(texts.lengths)}

    def intermediate(self, workspace: Workspace) -> dict[str, Any]:
        """The fine-tuned teacher's layers on the task's texts."""
        original = self.encoded["train"].without_column("labels")
        if self.recipe.distill.general is None:
            learner = self._initialise(self.teacher, original)
        else:
            learner = self.load_learner("general")
        section = self.recipe.distill.intermediate
        before = self._scores_under_teachers_head(learner, original)
        trained = self._match_layers(learner, self.teacher, self.texts, section, workspace, "intermediate")
        if processes.is_main():
            learner.save_encoder(workspace.output / "model", self.tokenizer)
        after = self._scores_under_teachers_head(learner, original)
        return {**asdict(trained), "scores_before": before, "scores": after}

    # -- their parts

    def dev_score(self, model: PreTrainedModel, *, encoded: dict[str, Encoded]) -> float:
        """The metric on dev, by which epochs are chosen."""
        return self._score(self.task.dev, predict_logits(model, encoded["dev"]))

    def take_head(self, learner: distill.Learner, texts: Encoded) -> bool:
        """Start the student's head from the teacher's, where it can be; else it has random weights."""
        can = self.recipe.student.initialisation != "random" and distill.can_take_head(learner.student, self.teacher)
        if can:
            distill.take_head(learner, self.teacher, texts, seed=self.recipe.seed)
        return can

    def _scores_under_teachers_head(self, learner: distill.Learner, texts: Encoded) -> dict[str, float] | None:
        """What the encoder is worth so far: the metric under the teacher's head, cut to its width; None without."""
        return self.scores(learner.student, self.encoded) if self.take_head(learner, texts) else None

    def _initialise(self, teacher: PreTrainedModel, texts: Encoded) -> distill.Learner:
        student = self.recipe.student
        if student.checkpoint is not None:
            named = self.recipe.teacher.base or self.recipe.teacher.model or ""
            models.require_equal_tokenizers(named, student.checkpoint)
        return distill.initialise(
            student.initialisation,
            self.shape,
            teacher,
            self.task.labels,
            texts,
            seed=self.recipe.seed,
            layer_map=self.recipe.distill.layer_map,
            projection_per_layer=self.recipe.distill.projection == "per_layer",
            dropout=student.dropout,
            architecture=student.architecture,
            checkpoint=student.checkpoint,
        )

    def load_learner(self, stage: str) -> distill.Learner:
        """The student as a layer-wise stage left it."""
        width = self.teacher.config.hidden_size
        return distill.load_learner(self.folder / stage / "model", self.task.labels, width, seed=self.recipe.seed)

    def _match_layers(
        self,
        learner: distill.Learner,
        teacher: PreTrainedModel,
        texts: Encoded,
        section: LayerWiseSection,
        workspace: Workspace,
        title: str,
    ) -> Trained:
        objective = Objective(
            embedding=section.embedding,
            hidden=_as_weights(section.hidden),
            attention=_as_weights(section.attention),
            relations=_as_weights(section.relations),
            relation_heads=section.relation_heads,
        )
        return distill.match_layers(
            learner,
            teacher,
            texts,
            objective,
            schedule_of(section),
            self.setting(workspace, title),
            layer_map=self.recipe.distill.layer_map,
        )


def schedule_of(section: StageSection) -> Schedule:
    """A stage's part of the recipe, as the trainer takes it."""
    return Schedule(**{field.name: getattr(section, field.name) for field in fields(Schedule)})


def _as_weights(weights: float | list[float]) -> LayerWeights:
    return tuple(weights) if isinstance(weights, list) else weights
