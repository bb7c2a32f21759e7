"""How a stage trains: its schedule and setting from the recipe, and running text as token blocks. Loads torch."""

from collections.abc import Iterable
from dataclasses import fields

from transformers import PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.data.token_blocks import pack
from compress.data.tokenization import Encoded
from compress.distillation.training_loop import Schedule, Setting
from pocketbert.data.corpora import error_context
from pocketbert.recipe.augmentation import TrainHeadSection
from pocketbert.recipe.training import GeneralSection, StageSection
from pocketbert.stages.context import StageContext
from pocketbert.store.workspace import Workspace


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
