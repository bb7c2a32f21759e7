"""What each training and export stage does. Imports torch; the pipeline loads it only when a stage must run."""

from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench import machine
from compress import distill, metrics, models
from compress.encoding import Encoded, encode_split, encode_texts
from compress.inference import predict_logits
from compress.progress import progress_bar
from compress.shape import StudentShape
from compress.tasks import Split, Task
from compress.trainer import Objective
from compress.training import Schedule, Setting, Trained
from export import parity, quantize
from export.candidates import Origin, build_candidates
from pocketbert.corpora import texts_of
from pocketbert.recipe import LayerWiseSection, Recipe, StageSection
from pocketbert.runs import Workspace


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
    def encoded(self) -> dict[str, Encoded]:
        """Train, dev and test as token rows."""
        splits = {"train": self.task.train, "dev": self.task.dev, "test": self.task.test}
        length = self.task.max_length
        return {name: encode_split(split, self.tokenizer, max_length=length) for name, split in splits.items()}

    def scores(self, model: PreTrainedModel) -> dict[str, float]:
        """The metric on dev and test."""
        return {
            "dev": self._score(self.task.dev, predict_logits(model, self.encoded["dev"])),
            "test": self._score(self.task.test, predict_logits(model, self.encoded["test"])),
        }

    def _score(self, split: Split, logits: np.ndarray) -> float:
        answers = metrics.decide(logits)
        return metrics.score(self.recipe.task.metric, split.labels, answers, num_classes=len(self.task.labels))

    def _setting(self, workspace: Workspace, title: str) -> Setting:
        return Setting(
            title=title,
            seed=self.recipe.seed,
            checkpoints=workspace.checkpoints,
            tensorboard=self.folder / "tensorboard" / title,
            console=self.console,
        )

    # -- the stages

    def make_teacher(self, workspace: Workspace) -> dict[str, Any]:
        """Fine-tune the base, unless the recipe names a fine-tuned teacher; record its metric."""
        teacher, told = self.recipe.teacher, {}
        if teacher.model is not None:
            model = models.load_classifier(teacher.model)
        else:
            torch.manual_seed(self.recipe.seed)
            model = models.load_classifier(teacher.base or "", self.task.labels)
            trained = distill.fine_tune(
                model,
                self.encoded["train"],
                schedule_of(teacher.fine_tune),
                self._setting(workspace, "teacher"),
                self._dev_score,
            )
            told = asdict(trained)
        models.save_model(model, self.tokenizer, workspace.output / "model")
        return {**told, "scores": self.scores(model), "num_parameters": models.num_parameters(model)}

    def general(self, workspace: Workspace) -> dict[str, Any]:
        """The base teacher's layers on running text."""
        section = self.recipe.distill.general
        assert section is not None
        base = models.load_encoder(self.recipe.teacher.base or str(self.folder / "teacher" / "model"))
        tokenizer = models.load_tokenizer(self.recipe.teacher.base or self.recipe.teacher.model or "")
        texts = encode_texts(texts_of(section, self.task), tokenizer, max_length=section.max_length)
        learner = self._initialise(base, texts)
        trained = self._match_layers(learner, base, texts, section, workspace, "general")
        learner.save_encoder(workspace.output / "model", tokenizer)
        return {**asdict(trained), "num_rows": len(texts.lengths)}

    def intermediate(self, workspace: Workspace) -> dict[str, Any]:
        """The fine-tuned teacher's layers on the task's texts."""
        texts = self.encoded["train"].without_column("labels")
        if self.recipe.distill.general is None:
            learner = self._initialise(self.teacher, texts)
        else:
            learner = self._load_learner("general")
        section = self.recipe.distill.intermediate
        trained = self._match_layers(learner, self.teacher, texts, section, workspace, "intermediate")
        learner.save_encoder(workspace.output / "model", self.tokenizer)
        return asdict(trained)

    def prediction(self, workspace: Workspace) -> dict[str, Any]:
        """The teacher's logits on the task's texts; the student is then complete."""
        learner = self._load_learner("intermediate")
        texts = self.encoded["train"].without_column("labels")
        if self.recipe.student.initialisation != "random" and distill.can_take_head(learner.student, self.teacher):
            distill.take_head(learner, self.teacher, texts, seed=self.recipe.seed)
        before = self._dev_score(learner.student)
        section = self.recipe.distill.prediction
        trained = distill.match_predictions(
            learner.student,
            self._teacher_logits(texts, workspace),
            texts,
            Objective(prediction=1.0, temperature=section.temperature),
            schedule_of(section),
            self._setting(workspace, "prediction"),
            self._dev_score,
        )
        models.save_model(learner.student, self.tokenizer, workspace.output / "model")
        return {
            **asdict(trained),
            "dev_score_before": before,
            "scores": self.scores(learner.student),
            "num_parameters": models.num_parameters(learner.student),
        }

    def export(self, workspace: Workspace, teacher_scores: dict[str, float]) -> dict[str, Any]:
        """Build every variant as a candidate bundle and hold it against the torch student on dev."""
        teacher, metric = self.recipe.teacher, self.recipe.task.metric
        return build_candidates(
            models.load_classifier(str(self.folder / "prediction" / "model")),
            self.tokenizer,
            workspace.output,
            dev=self.task.dev,
            test=self.task.test,
            max_length=self.task.max_length,
            metric=metric,
            tolerances={variant: self._tolerance(variant) for variant in self.recipe.export.variants},
            origin=Origin(
                name=self.recipe.name,
                origin={
                    "recipe": self.recipe.name,
                    "task": f"{self.recipe.task.data} (sha256 {self.task.fingerprint()[:12]})",
                    "teacher": teacher.model or f"fine-tuned from {teacher.base}",
                    "student": "{layers} layers x {width}, feed-forward {ffn_width}, {heads} heads".format(
                        **vars(self.shape)
                    ),
                },
                versions=machine.package_versions(),
                measured={f"teacher's test {metric}": teacher_scores["test"]},
            ),
            announce=self.console.print,
        )

    # -- their parts

    def _tolerance(self, variant: quantize.Variant) -> parity.Tolerance:
        wanted = self.recipe.export.tolerance.get(variant)
        chosen = wanted.model_dump(exclude_none=True) if wanted else {}
        return replace(parity.DEFAULT_TOLERANCES[variant], **chosen)

    def _dev_score(self, model: PreTrainedModel) -> float:
        return self._score(self.task.dev, predict_logits(model, self.encoded["dev"]))

    def _initialise(self, teacher: PreTrainedModel, texts: Encoded) -> distill.Learner:
        student = self.recipe.student
        return distill.initialise(
            student.initialisation,
            self.shape,
            teacher,
            self.task.labels,
            texts,
            seed=self.recipe.seed,
            dropout=student.dropout,
            checkpoint=student.checkpoint,
        )

    def _load_learner(self, stage: str) -> distill.Learner:
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
        objective = Objective(embedding=section.embedding, hidden=section.hidden, attention=section.attention)
        return distill.match_layers(
            learner, teacher, texts, objective, schedule_of(section), self._setting(workspace, title)
        )

    def _teacher_logits(self, texts: Encoded, workspace: Workspace) -> np.ndarray:
        """Once for all epochs, kept beside the checkpoints for a run that is cut off."""
        path = workspace.checkpoints.with_name("teacher_logits.npy")
        if not path.exists():
            partial = path.with_suffix(".partial.npy")
            with progress_bar("teacher's logits", self.console) as on_progress:
                np.save(partial, predict_logits(self.teacher, texts, on_progress=on_progress))
            partial.rename(path)
        return np.load(path)


def schedule_of(section: StageSection) -> Schedule:
    """A stage's part of the recipe, as the trainer takes it."""
    fields = ("epochs", "batch_size", "learning_rate", "warmup", "decay", "max_steps", "checkpoint_steps")
    return Schedule(**{name: getattr(section, name) for name in fields})
