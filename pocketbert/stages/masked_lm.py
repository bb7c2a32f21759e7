"""Training of a masked-language-model head for data augmentation, if the encoder ships without one."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from compress.augmentation import mlm_head
from compress.common.errors import UserError
from compress.common.progress import progress_bar
from compress.models import loading
from compress.results import MaskedLMResult
from pocketbert.data.corpora import error_context, texts_of
from pocketbert.recipe.sections import masked_lm_of
from pocketbert.stage_parts.context import StageContext
from pocketbert.stage_parts.trainings import corpus_blocks, schedule_of, train_context_of
from pocketbert.store.workspace import Workspace

HELD_OUT_EVERY, HELD_OUT_BLOCKS = 50, 1000


def train_masked_lm(context: StageContext, workspace: Workspace) -> MaskedLMResult:
    """Train the head on the corpus of the recipe. Every 50th text is held out to measure its accuracy."""
    recipe = context.recipe
    assert recipe.augment is not None and recipe.augment.masked_lm.train_head is not None
    section = recipe.augment.masked_lm.train_head
    name = masked_lm_of(recipe)
    tokenizer = loading.load_tokenizer(name)
    torch.manual_seed(recipe.seed)  # the head's first weights
    model = loading.load_masked_lm(name, new_head=True)

    with error_context(section):
        if len(list(islice(texts_of(section, context.task), 2))) < 2:
            raise UserError(
                "got fewer than two texts; expected many: one in 50 is held out to measure the head's accuracy"
            )

    def texts(*, held_out: bool) -> Iterator[str]:
        numbered = enumerate(texts_of(section, context.task))
        return (text for number, text in numbered if (number % HELD_OUT_EVERY == 0) == held_out)

    held_out = corpus_blocks(context, workspace, texts(held_out=True), section, tokenizer, kept_as="held_out")
    batch_size = schedule_of(section).batch_size
    data = corpus_blocks(context, workspace, texts(held_out=False), section, tokenizer, at_least=batch_size)
    order = np.random.default_rng(recipe.seed).permutation(len(held_out.lengths))
    held_out = held_out.take(np.sort(order[:HELD_OUT_BLOCKS]))
    # no torch.compile: the model has hooks
    train_context = replace(train_context_of(context, workspace, "masked_lm"), compiled=False)
    training = mlm_head.train_head(
        model,
        tokenizer,
        data,
        held_out,
        schedule_of(section),
        train_context,
        frozen=section.frozen,
    )
    workspace.save(lambda output: loading.save_model(model, tokenizer, output / "model"))
    with progress_bar("masked_lm, held-out text", context.console) as on_progress:
        accuracy = mlm_head.accuracy(model, tokenizer, held_out, on_progress=on_progress)
    if not accuracy.num_masked:
        raise UserError(
            f"{section.key}.corpus: {name} knows no token of the held-out texts; expected the model's language"
        )
    context.console.print(
        f"  masked_lm: of {accuracy.num_masked:,} masked tokens in held-out text, {accuracy.top1:.1%} rank first and "
        f"{accuracy.top15:.1%} among the first 15"
    )
    return MaskedLMResult(training=training, accuracy=accuracy, num_rows=len(data.lengths))
