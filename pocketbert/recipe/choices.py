"""The values that a recipe leaves to `auto`: each is chosen from the data and the models, with a reason."""

import math
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, TypeVar

from bench.results.document import Choice
from compress.data.task_types import task_type
from compress.data.tasks import Task
from compress.distillation import auto_schedule
from compress.distillation.successive_halving import Candidate
from compress.models.compatibility import read_encoder
from compress.results import SearchResult, TrainingResult
from pocketbert.recipe.sections import Recipe, num_training_texts
from pocketbert.recipe.training import (
    FineTuneSection,
    IntermediateSection,
    LayerWiseSection,
    PredictionSection,
    SearchableSection,
    SearchSection,
    StageSection,
)

FINE_TUNE = "teacher.fine_tune"
GENERAL_EPOCHS, TRAIN_HEAD_EPOCHS, TRAIN_HEAD_RATE = 3, 1, 5e-4
AFTER_PLATEAU: Literal["after_plateau"] = "after_plateau"
USUAL = "usual for running text"

AnyStage = TypeVar("AnyStage", bound=StageSection)
AnyLayerWise = TypeVar("AnyLayerWise", bound=LayerWiseSection)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A recipe without `auto`, and the choices. A learning rate that the search stage must choose is still open.

    `searched`: the training of the best candidate, after a search that trained it in full.
    """

    recipe: Recipe
    choices: list[Choice]
    searched: TrainingResult | None = None

    def after_search(self, result: SearchResult) -> "Resolved":
        """The recipe with the result of the search. It runs without another search."""
        section, teacher = self.recipe.teacher.fine_tune, self.recipe.teacher
        values = {"learning_rate": result.learning_rate, "batch_size": result.batch_size}
        reason = f"the best of {len(candidates_of(section))} on dev in a search"
        choices = [
            Choice(key=f"{FINE_TUNE}.{name}", value=f"{value:g}", reason=reason)
            for name, value in values.items()
            if getattr(section, name) != value
        ]
        fine_tune = section.model_copy(update={**values, "search": None})
        recipe = self.recipe.model_copy(update={"teacher": teacher.model_copy(update={"fine_tune": fine_tune})})
        return Resolved(recipe=recipe, choices=[*self.choices, *choices], searched=result.training)


def candidates_of(section: SearchableSection) -> list[Candidate]:
    """The points of a search. All values of the section must be known."""
    assert section.search is not None
    rates = section.search.learning_rate or [section.learning_rate or 0.0]
    sizes = section.search.batch_size or [section.batch_size or 0]
    return [Candidate(learning_rate=rate, batch_size=size) for rate, size in product(rates, sizes)]


def resolve(recipe: Recipe, task: Task) -> Resolved:
    """Choose every value that the recipe leaves to `auto`. The same recipe and task give the same values."""
    chooser = _Chooser(recipe=recipe, task=task)
    teacher, distill, augment = recipe.teacher, recipe.distill, recipe.augment
    if teacher.model is None:
        teacher = teacher.model_copy(update={"fine_tune": chooser.fine_tune(teacher.fine_tune)})
    if augment is not None and (head := augment.masked_lm.train_head) is not None:
        head = chooser.fill(head, head.key, epochs=(TRAIN_HEAD_EPOCHS, USUAL), learning_rate=(TRAIN_HEAD_RATE, USUAL))
        masked_lm = augment.masked_lm.model_copy(update={"train_head": head})
        augment = augment.model_copy(update={"masked_lm": masked_lm})
    general = distill.general
    if general is not None:
        general = chooser.layer_wise(chooser.fill(general, general.key, epochs=(GENERAL_EPOCHS, USUAL)), general.key)
    stages = {
        "general": general,
        "intermediate": chooser.intermediate(distill.intermediate),
        "prediction": chooser.prediction(distill.prediction),
    }
    sections = {"teacher": teacher, "augment": augment, "distill": distill.model_copy(update=stages)}
    return Resolved(recipe=recipe.model_copy(update=sections), choices=chooser.choices)


@dataclass(frozen=True, kw_only=True)
class _Chooser:
    """Chooses the open values of each section, and collects the choices."""

    recipe: Recipe
    task: Task
    choices: list[Choice] = field(default_factory=list)

    def fine_tune(self, section: FineTuneSection) -> FineTuneSection:
        """Choose everything but a rate to search. The rate is searched if dev has enough rows to compare rates."""
        section = self._epochs(section, FINE_TUNE, auto_schedule.FINE_TUNE_STEPS, len(self.task.train))
        search, width = section.search, read_encoder(self.recipe.teacher.base or "").width
        num_dev_rows = len(self.task.dev)
        can_search = auto_schedule.is_searchable(num_dev_rows) and not self.recipe.smoke
        if search is None and section.learning_rate is None and can_search:
            search = SearchSection()
        if search is not None and search.learning_rate is None and section.learning_rate is None:
            rates = auto_schedule.fine_tune_rates(width)
            search = search.model_copy(update={"learning_rate": rates})
        if search is not None:
            return section.model_copy(update={"search": search})
        reason = f"usual for a teacher of width {width}"
        if not auto_schedule.is_searchable(num_dev_rows):
            reason += f"; a search needs {auto_schedule.MIN_DEV_ROWS} dev rows, and there are {num_dev_rows}"
        return self.fill(section, FINE_TUNE, learning_rate=(auto_schedule.fine_tune_rate(width), reason))

    def intermediate(self, section: IntermediateSection) -> IntermediateSection:
        """Choose epochs and rate of intermediate-layer distillation."""
        key = "distill.intermediate"
        if section.epochs is None and "decay" not in section.model_fields_set:
            section = section.model_copy(update={"decay": AFTER_PLATEAU})
            reason = "the stage ends when its loss is flat"
            self.choices.append(Choice(key=f"{key}.decay", value=AFTER_PLATEAU, reason=reason))
        section = self._epochs(section, key, auto_schedule.intermediate_steps(self._num_texts), self._num_texts)
        return self.layer_wise(section, key)

    def layer_wise(self, section: AnyLayerWise, key: str) -> AnyLayerWise:
        """Choose the rate of a layer-wise stage."""
        width = self.recipe.student.shape.width
        rate = auto_schedule.layer_wise_rate(width)
        return self.fill(section, key, learning_rate=(rate, f"for a student of width {width}"))

    def prediction(self, section: PredictionSection) -> PredictionSection:
        """Choose epochs and rate of prediction-layer distillation."""
        key, width = "distill.prediction", self.recipe.student.shape.width
        section = self._epochs(section, key, auto_schedule.PREDICTION_STEPS, self._num_texts)
        rate = auto_schedule.prediction_rate(width)
        search = section.search
        if search is not None and search.learning_rate is None and section.learning_rate is None:
            search = search.model_copy(update={"learning_rate": auto_schedule.around(rate)})
            section = section.model_copy(update={"search": search})
        return self.fill(section, key, learning_rate=(rate, f"for a student of width {width}"))

    @property
    def _num_texts(self) -> int:
        """The rows of task distillation, with augmented ones."""
        train = self.task.train
        return num_training_texts(self.recipe, len(train), takes_pairs=train.pairs is not None)

    def _epochs(self, section: AnyStage, key: str, usual_steps: int, num_rows: int) -> AnyStage:
        """Choose batch size and epochs, and with these the patience of a stage that is scored on dev."""
        num_classes = len(self.task.labels)
        section = self.fill(section, key, batch_size=(auto_schedule.batch_size(num_rows), f"for {num_rows:,} rows"))
        assert section.batch_size is not None
        if section.epochs is not None:
            return section
        equal = self.recipe.task.metric in ("macro_f1", "f1")
        epochs = auto_schedule.epochs_for(
            usual_steps,
            num_rows,
            num_classes,
            section.batch_size,
            most=auto_schedule.MAX_EPOCHS if key == FINE_TUNE else auto_schedule.MAX_STUDENT_EPOCHS,
            classes_count_equally=equal,
        )
        num_steps = epochs * math.ceil(num_rows / section.batch_size)
        has_classes = task_type(self.task.type).has_classes
        counted = f"{num_classes} classes" if has_classes else "one output"
        reason = f"{num_steps:,} steps for {num_rows:,} rows and {counted}"
        if section.max_steps is not None and section.max_steps < num_steps:
            reason = f"{section.max_steps:,} of {reason}, because of max_steps"
        if isinstance(section, SearchableSection) and section.patience is None:
            patience = auto_schedule.patience(epochs)
            reason += f"; stops after {patience} epochs without a better dev score"
            section = section.model_copy(update={"patience": patience})
        return self.fill(section, key, epochs=(epochs, reason))

    def fill(self, section: AnyStage, key: str, **values: tuple[float, str]) -> AnyStage:
        """Set the keys of a section that are open. `values`: value and reason of each key."""
        for name, (value, reason) in values.items():
            if getattr(section, name) is None:
                section = section.model_copy(update={name: value})
                self.choices.append(Choice(key=f"{key}.{name}", value=f"{value:g}", reason=reason))
        return section
