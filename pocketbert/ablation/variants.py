"""The tables of an ablation: which keys of a recipe each variant changes, and what the paper measured.

Tables 2, 3 and 4 of TinyBERT (Jiao et al. 2020), and three of ours. Every variant trains for as many steps as the
recipe. The last table holds the user's own variants.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from compress.common.errors import UserError
from compress.models.compatibility import read_encoder
from compress.models.shape import LayerMapRule, map_layers
from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.training import MOST_EPOCHS, LayerWiseSection, weights_in

TableName = Literal["procedures", "objectives", "mapping", "initialisation", "augmentation", "baselines", "own"]
OWN: TableName = "own"
TABLES: tuple[TableName, ...] = tuple(name for name in get_args(TableName) if name != OWN)
RECIPE = "the recipe"
OWN_SECTIONS = ("student", "augment", "distill", "compute")  # the others are the same for all students of a table


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A row of a table.

    `changes`: keys of the recipe with their values, as for `--set`. `paper`: the mean of the paper's four dev scores,
    in percent.
    """

    name: str
    changes: tuple[str, ...] = ()
    paper: float | None = None


@dataclass(frozen=True, kw_only=True)
class VariantTable:
    """A table. The first variant is the recipe itself. `left_out`: a reason for each variant that it cannot have."""

    name: TableName
    variants: list[Variant]
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The optimiser steps of the recipe's two steps of task distillation, and the rates that they use."""

    intermediate: int
    prediction: int
    intermediate_rate: float
    prediction_rate: float

    def all_in_prediction(self) -> tuple[str, ...]:
        """Changes that leave the intermediate stage out and give its steps to the prediction stage."""
        return ("distill.intermediate.epochs=0", *step_changes("prediction", self.intermediate + self.prediction))


def tables_named(names: Sequence[str]) -> list[TableName]:
    """The tables of these names; `all` stands for every one. Raises UserError for an unknown name."""
    unknown = [name for name in names if name not in (*TABLES, "all")]
    if unknown:
        raise UserError(f"--table {unknown[0]}: expected one of {', '.join(TABLES)}, all")
    return [table for table in TABLES if table in names or "all" in names]


def own_variants(texts: Sequence[str]) -> list[Variant]:
    """Variants in the form `NAME: KEY=VALUE; KEY=VALUE`. Without a name, it is the text itself. Raises UserError."""
    variants = [_own_variant(text) for text in texts]
    names = [RECIPE, *(variant.name for variant in variants)]
    if repeated := [name for number, name in enumerate(names) if name in names[:number]]:
        raise UserError(f"two variants have the name {repeated[0]!r}")
    return variants


def _own_variant(text: str) -> Variant:
    before, colon, after = text.partition(":")
    is_named = bool(colon) and "=" not in before
    changes = tuple(part.strip() for part in (after if is_named else text).split(";") if part.strip())
    name = " ".join(before.split()) if is_named else "; ".join(changes)
    if not name or not changes or not all("=" in change for change in changes):
        raise UserError(f"variant {text!r}: expected NAME: KEY=VALUE, and a semicolon between several changes")
    for key in (change.partition("=")[0].strip() for change in changes):
        if key.partition(".")[0] not in OWN_SECTIONS or key == "distill.seed":
            raise UserError(
                f"variant {name!r}: {key} must be the same for all students; a variant may change keys of "
                f"{', '.join(OWN_SECTIONS[:-1])} and {OWN_SECTIONS[-1]}, but not distill.seed"
            )
    return Variant(name=name, changes=changes)


def variant_tables(
    recipe: Recipe, steps: Steps, names: Sequence[TableName], own: Sequence[Variant] = ()
) -> list[VariantTable]:
    """The tables of these names, and one with the user's own variants. `recipe`: without `auto`."""
    makers: dict[TableName, Callable[[Recipe, Steps], VariantTable]] = {
        "procedures": _procedures,
        "objectives": _objectives,
        "mapping": _mapping,
        "initialisation": _initialisation,
        "augmentation": _augmentation,
        "baselines": _baselines,
    }
    tables = [makers[name](recipe, steps) for name in dict.fromkeys(names)]
    if own:
        tables.append(VariantTable(name=OWN, variants=[Variant(name=RECIPE), *own]))
    if all(len(table.variants) == 1 for table in tables):
        raise UserError("no variant to train: " + "; ".join(reason for table in tables for reason in table.left_out))
    return tables


def step_changes(stage: str, steps: int) -> tuple[str, ...]:
    """Changes that end a stage after this many steps, at least one. Its last epoch may be incomplete."""
    steps = max(1, steps)
    return (f"distill.{stage}.epochs={min(MOST_EPOCHS, steps)}", f"distill.{stage}.max_steps={steps}")


def _procedures(recipe: Recipe, steps: Steps) -> VariantTable:
    variants, left_out = [Variant(name=RECIPE, paper=75.6)], []
    if recipe.distill.general is not None:
        variants.append(Variant(name="no general distillation", changes=("distill.general=null",), paper=72.5))
    else:
        left_out.append("no general distillation: the recipe has none; add distill.general to measure it")
    labels_only = (*steps.all_in_prediction(), "distill.prediction.label_weight=1")
    variants.append(Variant(name="no task distillation", changes=labels_only, paper=68.5))
    if recipe.augment is not None:
        variants.append(Variant(name="no augmentation", changes=("augment=null",), paper=68.4))
    else:
        left_out.append("no augmentation: the recipe has none; add augment to measure it")
    return VariantTable(name="procedures", variants=variants, left_out=left_out)


def _objectives(recipe: Recipe, steps: Steps) -> VariantTable:
    variants, left_out = [Variant(name=RECIPE, paper=75.6)], []
    sections: dict[str, LayerWiseSection] = {"distill.intermediate": recipe.distill.intermediate}
    if recipe.distill.general is not None:
        sections["distill.general"] = recipe.distill.general
    without: dict[str, tuple[tuple[str, ...], float]] = {
        "no embedding loss": (("embedding",), 74.1),
        "no transformer losses": (("hidden", "attention", "relations"), 56.3),
        "no attention loss": (("attention", "relations"), 71.0),
        "no hidden-state loss": (("hidden",), 72.9),
    }
    for name, (keys, paper) in without.items():
        if any(_has_loss(section, key) for section in sections.values() for key in keys):
            changes = tuple(f"{section}.{key}=0" for section in sections for key in keys)
            variants.append(Variant(name=name, changes=changes, paper=paper))
        else:
            left_out.append(f"{name}: the recipe has no such loss")
    if recipe.distill.prediction.label_weight < 1:
        changes = ("distill.prediction.label_weight=1",)
        variants.insert(2, Variant(name="no prediction loss, labels instead", changes=changes, paper=73.5))
    else:
        left_out.append("no prediction loss: the recipe has none")
    return VariantTable(name="objectives", variants=variants, left_out=left_out)


def _has_loss(section: LayerWiseSection, key: str) -> bool:
    """Whether a loss has a weight above 0. Without weights of their own, attention or relations have one."""
    weights = getattr(section, key)
    if weights is not None:
        return any(weights_in(weights))
    return not (section.attention is not None and section.relations is None and key == "relations")


def _mapping(recipe: Recipe, steps: Steps) -> VariantTable:
    num_layers = read_encoder(recipe.teacher.model or recipe.teacher.base or "").layers
    own = map_layers(recipe.distill.layer_map, recipe.student.shape.layers, num_layers)
    papers: dict[LayerMapRule, float] = {"uniform": 75.6, "top": 70.9, "bottom": 71.3}
    rule_of_recipe = recipe.distill.layer_map
    paper_of_recipe = papers[rule_of_recipe] if isinstance(rule_of_recipe, str) else None
    variants = [Variant(name=RECIPE, paper=paper_of_recipe)]
    left_out = []
    for rule, paper in papers.items():
        mapped = map_layers(rule, recipe.student.shape.layers, num_layers)
        layers = ", ".join(map(str, mapped))
        if mapped != own:
            variants.append(
                Variant(name=f"{rule}: layers {layers}", changes=(f"distill.layer_map={rule}",), paper=paper)
            )
        elif rule != rule_of_recipe:
            left_out.append(f"{rule}: the same layers as the recipe's, {layers}")
    return VariantTable(name="mapping", variants=variants, left_out=left_out)


def _initialisation(recipe: Recipe, steps: Steps) -> VariantTable:
    student, variants, left_out = recipe.student, [Variant(name=RECIPE)], list[str]()
    checkpoint = ("student.checkpoint=null",) if student.checkpoint is not None else ()
    width = read_encoder(recipe.teacher.base or recipe.teacher.model or "").width
    for initialisation, name in (
        ("projected", "first weights: the teacher's, projected"),
        ("random", "first weights: random"),
        ("teacher_layers", "first weights: layers of the teacher"),
    ):
        if initialisation == student.initialisation:
            continue
        if initialisation == "teacher_layers" and student.shape.width != width:
            left_out.append(f"{name}: the student has width {student.shape.width} and the teacher {width}")
            continue
        variants.append(Variant(name=name, changes=(*checkpoint, f"student.initialisation={initialisation}")))
    for name, factor in (("half of the steps", 0.5), ("twice the steps", 2.0)):
        stages = {"intermediate": steps.intermediate, "prediction": steps.prediction}
        changes = [step_changes(stage, round(factor * count)) for stage, count in stages.items() if count]
        variants.append(Variant(name=name, changes=tuple(change for each in changes for change in each)))
    return VariantTable(name="initialisation", variants=variants, left_out=left_out)


def _augmentation(recipe: Recipe, steps: Steps) -> VariantTable:
    variants = [Variant(name=RECIPE, paper=75.6)]
    if recipe.augment is None:
        return VariantTable(
            name="augmentation", variants=variants, left_out=["augmentation: the recipe has none; add augment"]
        )
    variants.append(Variant(name="no augmentation", changes=("augment=null",), paper=68.4))
    if recipe.augment.copies_per_text > 1:
        variants.append(Variant(name="1 augmented text per text", changes=("augment.copies_per_text=1",)))
    half = recipe.augment.probability / 2
    variants.append(Variant(name="half of the words replaced", changes=(f"augment.probability={half:g}",)))
    if recipe.augment.vectors is not None:
        variants.append(Variant(name="no word vectors", changes=("augment.vectors=null",)))
    return VariantTable(name="augmentation", variants=variants)


def _baselines(recipe: Recipe, steps: Steps) -> VariantTable:
    """Students without intermediate layers, at equal steps: on labels, and on logits alone (Hinton et al. 2015).

    Of the learning rates of both stages, the better one on dev is kept.
    """
    rates = sorted({steps.intermediate_rate, steps.prediction_rate})
    search = () if len(rates) == 1 else (f"distill.prediction.search.learning_rate={rates}",)
    alone = (*steps.all_in_prediction(), *search)
    checkpoint = ("student.checkpoint=null",) if recipe.student.checkpoint is not None else ()
    plain = (
        *alone, *checkpoint, "student.initialisation=random",
        *(("distill.general=null",) if recipe.distill.general is not None else ()),
        *(("augment=null",) if recipe.augment is not None else ()),
    )  # fmt: skip
    labels, logits = "distill.prediction.label_weight=1", "distill.prediction.label_weight=0"
    variants = [
        Variant(name=RECIPE),
        Variant(name="labels only, random first weights", changes=(*plain, labels)),
        Variant(name="teacher's logits only, random first weights", changes=(*plain, logits)),
    ]
    if recipe.student.initialisation != "random" or recipe.distill.general is not None:
        variants += [
            Variant(name="labels only, first weights of the recipe", changes=(*alone, labels)),
            Variant(name="teacher's logits only, first weights of the recipe", changes=(*alone, logits)),
        ]
    return VariantTable(name="baselines", variants=variants)
