"""The two stages of data augmentation: a masked-language-model head where one must be trained, and the variants."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from compress import models, processes
from compress.augment import augment, drift, head
from compress.augment.candidates import Candidates
from compress.augment.masked_lm import MaskedLM
from compress.augment.vectors import Vectors, load_vectors
from compress.augment.words import load_stop_words
from compress.errors import UserError
from compress.inference import predict_logits
from compress.locations import max_tokens, read_config
from compress.progress import progress_bar
from pocketbert.augment_keys import AugmentSection
from pocketbert.corpora import named, texts_of
from pocketbert.recipe import masked_lm_of
from pocketbert.runs import Workspace, cache_folder
from pocketbert.stages import Stages, schedule_of

HELD_OUT_EVERY, HELD_OUT_BLOCKS = 50, 1000


def train_masked_lm(stages: Stages, workspace: Workspace) -> dict[str, Any]:
    """Train the head on the recipe's corpus; every 50th text is held out to tell how good it is."""
    recipe = stages.recipe
    assert recipe.augment is not None and recipe.augment.masked_lm.train_head is not None
    section = recipe.augment.masked_lm.train_head
    name = masked_lm_of(recipe)
    tokenizer = models.load_tokenizer(name)
    torch.manual_seed(recipe.seed)  # the head's first weights
    model = models.load_masked_lm(name, new_head=True)

    with named(section):
        if len(list(islice(texts_of(section, stages.task), 2))) < 2:
            raise UserError("got no text, or one; expected many: one in 50 is held out, to tell how good the head is")

    def texts(*, held_out: bool) -> Iterator[str]:
        every = enumerate(texts_of(section, stages.task))
        return (text for number, text in every if (number % HELD_OUT_EVERY == 0) == held_out)

    kept = stages.blocks(texts(held_out=True), section, tokenizer, workspace, kept_as="held_out")
    data = stages.blocks(
        texts(held_out=False), section, tokenizer, workspace, kept_as="blocks", at_least=section.batch_size
    )
    order = np.random.default_rng(recipe.seed).permutation(len(kept.lengths))
    kept = kept.take(np.sort(order[:HELD_OUT_BLOCKS]))
    setting = replace(stages.setting(workspace, "masked_lm"), compiled=False)  # its hooks are not for compiling
    trained = head.train_head(model, tokenizer, data, kept, schedule_of(section), setting, frozen=section.frozen)
    if processes.is_main():
        models.save_model(model, tokenizer, workspace.output / "model")
    with progress_bar("masked_lm, held-out text", stages.console) as on_progress:
        found = head.accuracy(model, tokenizer, kept, on_progress=on_progress)
    if not found["num_masked"]:
        raise UserError(f"{section.key}.corpus: {name} knows no piece of its held-out texts; is it in its language?")
    stages.console.print(
        f"  masked_lm: of {found['num_masked']:,} masked pieces in held-out text {found['top1']:.1%} are the most "
        f"probable, {found['top15']:.1%} among the first 15"
    )
    return {**asdict(trained), "accuracy": found, "num_rows": len(data.lengths)}


def make_variants(stages: Stages, workspace: Workspace) -> dict[str, Any]:
    """Write the train rows and their variants, as text and as the teacher's tokens; say what became of the words.

    The teacher itself is asked only where the recipe has it filter; else the prediction stage tells the drift.
    """
    recipe, task = stages.recipe, stages.task
    section = recipe.augment
    assert section is not None
    candidates = candidates_of(stages, section)
    draw = augment.Draw(variants=section.variants, probability=section.probability, seed=recipe.seed)
    texts, tokens = (workspace.checkpoints.with_name(name) for name in ("texts", "tokens"))
    with progress_bar("augment, texts", stages.console) as on_progress:
        counts = augment.augment(task.train, candidates, draw, texts, on_progress=on_progress)
    with progress_bar("augment, shards to tokens", stages.console) as on_progress:
        rows = augment.tokenise(texts, stages.tokenizer, tokens, max_length=task.max_length, on_progress=on_progress)
    told = {"counts": asdict(counts), "vectors": _about_vectors(candidates.vectors), "drift": None}
    row, is_variant = augment.origins_of(texts)
    variants, dropped = np.flatnonzero(is_variant), np.zeros(len(row), dtype=bool)
    if section.drop_flips_above is not None and len(variants):
        with progress_bar("augment, teacher's labels", stages.console) as on_progress:
            logits = predict_logits(stages.teacher, rows, precision=recipe.training.precision, on_progress=on_progress)
        before = logits[row[variants]]  # the first rows are the originals, in their order
        told["drift"] = drift.drift(logits[variants], before)
        dropped[variants] = drift.flipped_above(logits[variants], before, section.drop_flips_above)
    if processes.is_main():
        for folder in (texts, tokens):
            augment.copy_without(folder, workspace.output / folder.name, dropped)
    processes.from_main(None)  # wait until they are there
    return {**told, "dropped": int(dropped.sum())}


def candidates_of(stages: Stages, section: AugmentSection) -> Candidates:
    """The sources that the recipe names, loaded."""
    recipe = stages.recipe
    trained = section.masked_lm.train_head is not None
    name = str(stages.folder / "masked_lm" / "model") if trained else masked_lm_of(recipe)
    # half precision only where it is asked for: in it a word's candidates depend a little on the rest of the batch
    precision = "fp32" if recipe.training.precision == "auto" else recipe.training.precision
    masked_lm = MaskedLM(models.load_masked_lm(name), models.load_tokenizer(name), precision=precision)
    vectors = None
    if section.vectors is not None:
        vectors = load_vectors(section.vectors, cache=cache_folder(), max_words=section.max_vectors)
        stages.console.print(f"  augment: {vectors.num_words:,} word vectors of {vectors.dimension} numbers")
    return Candidates(
        masked_lm=masked_lm,
        vectors=vectors,
        stop_words=load_stop_words(section.stop_words),
        count=section.candidates,
        max_length=min(stages.task.max_length, max_tokens(read_config(name))),
    )


def _about_vectors(vectors: Vectors | None) -> dict[str, Any] | None:
    if vectors is None:
        return None
    missing = sorted(vectors.missing)
    return {
        "name": vectors.name,
        "dimension": vectors.dimension,
        "num_words": vectors.num_words,
        "num_missing": len(missing),
        "missing": missing[:50],
    }
