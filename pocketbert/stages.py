"""What each training and export stage does. Imports torch; the pipeline loads it only when a stage must run."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench import machine
from compress import corpus, distill, metrics, models
from compress.encoding import Encoded, encode_split, encode_texts
from compress.inference import predict_logits
from compress.progress import progress_bar
from compress.shape import StudentShape
from compress.tasks import Split, Task
from compress.trainer import Objective
from compress.training import Schedule, Setting, Trained
from export import parity, quantize
from export.bundle import Golden, finish_bundle, golden_examples, write_bundle
from export.fuse import fuse
from export.runtime import Classifier
from export.to_onnx import export_onnx
from pocketbert.corpora import corpus_path
from pocketbert.recipe import LayerWiseSection, Recipe, StageSection
from pocketbert.runs import Workspace

NUM_GOLDEN = 16


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
        return metrics.score(self.recipe.task.metric, split.labels, metrics.decide(logits))

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
                _schedule(teacher.fine_tune),
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
        found = islice(self._corpus(section.corpus), section.max_texts)
        texts = encode_texts(found, self.tokenizer, max_length=section.max_length)
        learner = self._initialise(base, texts)
        trained = self._match_layers(learner, base, texts, section, workspace, "general")
        learner.save_encoder(workspace.output / "model", self.tokenizer)
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
            _schedule(section),
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
        student = models.load_classifier(str(self.folder / "prediction" / "model"))
        reference = predict_logits(student, self.encoded["dev"])
        raw, fused = workspace.output / "raw.onnx", workspace.output / "fused.onnx"
        takes_types = "token_type_ids" in self.encoded["dev"].input_names
        export_onnx(student, raw, takes_token_types=takes_types)
        nodes = fuse(
            raw,
            fused,
            num_layers=self.shape.layers,
            num_heads=self.shape.heads,
            hidden_size=self.shape.width,
        )
        told = {}
        for variant in self.recipe.export.variants:
            self.console.print(f"  {variant}")
            told[variant] = self._candidate(
                variant, fused, workspace.output / variant, student, reference, teacher_scores
            )
        raw.unlink()
        fused.unlink()
        return {"fused_nodes": nodes, "variants": told}

    # -- their parts

    def _candidate(
        self,
        variant: quantize.Variant,
        fused: Path,
        folder: Path,
        student: PreTrainedModel,
        reference: np.ndarray,
        teacher_scores: dict[str, float],
    ) -> dict[str, Any]:
        dev, test = self.task.dev, self.task.test
        model_file = folder.with_suffix(".onnx")
        quantize.build_variant(variant, fused, model_file)
        write_bundle(
            folder,
            model_file=model_file,
            config=student.config,
            tokenizer=self.tokenizer,
            labels=self.task.labels,
            max_length=self.task.max_length,
            takes_pairs=dev.pairs is not None,
            variant=variant,
            facts={"name": self.recipe.name, "origin": self._origin(), "versions": machine.package_versions()},
        )
        model_file.unlink()

        classifier = Classifier(folder)
        shift = parity.measure_batch_shift(classifier, dev.texts, dev.pairs)
        classifier.batch_invariant = shift <= parity.INVARIANT_PROBABILITY
        logits = classifier.logits(dev.texts, dev.pairs)
        found = parity.compare(
            logits,
            reference,
            metric=self._score(dev, logits),
            torch_metric=self._score(dev, reference),
            batch_shift=shift,
        )
        test_score = self._score(test, classifier.logits(test.texts, test.pairs))
        failures = found.failures(self._tolerance(variant))
        name = self.recipe.task.metric
        finish_bundle(
            folder,
            batch_invariant=classifier.batch_invariant,
            measured={
                f"dev {name}": found.metric,
                f"test {name}": test_score,
                f"teacher's test {name}": teacher_scores["test"],
                "dev rows": len(dev),
                "test rows": len(test),
                "label flips against torch on dev": found.num_label_flips,
                "mean logit error / spread": found.logit_error,
            },
            golden=_golden(classifier, dev),
        )
        return {"parity": asdict(found), "failures": failures, "scores": {"dev": found.metric, "test": test_score}}

    def _origin(self) -> dict[str, str]:
        teacher = self.recipe.teacher
        return {
            "recipe": self.recipe.name,
            "task": f"{self.recipe.task.data} (sha256 {self.task.fingerprint()[:12]})",
            "teacher": teacher.model or f"fine-tuned from {teacher.base}",
            "student": "{layers} layers x {width}, feed-forward {ffn_width}, {heads} heads".format(**vars(self.shape)),
        }

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
            learner, teacher, texts, objective, _schedule(section), self._setting(workspace, title)
        )

    def _corpus(self, names: list[str]) -> Iterator[str]:
        for name in names:
            if name == "task":
                yield from self.task.train.texts
                yield from self.task.train.pairs or []
            else:
                yield from corpus.read_texts([corpus_path(name)])

    def _teacher_logits(self, texts: Encoded, workspace: Workspace) -> np.ndarray:
        """Once for all epochs, kept beside the checkpoints for a run that is cut off."""
        path = workspace.checkpoints.with_name("teacher_logits.npy")
        if not path.exists():
            partial = path.with_suffix(".partial.npy")
            with progress_bar("teacher's logits", self.console) as on_progress:
                np.save(partial, predict_logits(self.teacher, texts, on_progress=on_progress))
            partial.rename(path)
        return np.load(path)


def _golden(classifier: Classifier, dev: Split) -> list[Golden]:
    return golden_examples(classifier, dev.texts[:NUM_GOLDEN], dev.pairs and dev.pairs[:NUM_GOLDEN])


def _schedule(section: StageSection) -> Schedule:
    fields = ("epochs", "batch_size", "learning_rate", "warmup", "decay", "max_steps", "checkpoint_steps")
    return Schedule(**{name: getattr(section, name) for name in fields})
