"""Data augmentation: the train texts and their variants, as text and as the teacher's tokens."""

import numpy as np

from compress.augmentation import dataset
from compress.augmentation.candidates import Candidates
from compress.augmentation.masked_lm import MaskedLM
from compress.augmentation.word_vectors import Vectors, load_vectors
from compress.augmentation.words import load_stop_words
from compress.common.progress import progress_bar
from compress.models import loading
from compress.models.inference import predict_logits
from compress.models.sources import max_tokens, read_config
from compress.results import AugmentResult, WordVectorsUsed
from pocketbert.recipe.sections import augmentation_of, masked_lm_of
from pocketbert.stages.context import StageContext
from pocketbert.store.run_folder import cache_folder
from pocketbert.store.workspace import Workspace

MISSING_WORDS_LISTED = 50


def augment_data(context: StageContext, workspace: Workspace) -> AugmentResult:
    """Write the train rows and their variants, and count what became of the words.

    The teacher itself is asked only where the recipe has it filter; else the prediction stage measures the drift.
    """
    recipe, task = context.recipe, context.task
    section = augmentation_of(recipe)
    candidates = load_candidates(context)
    draw = dataset.SamplingOptions(variants=section.variants, probability=section.probability, seed=recipe.seed)
    texts, tokens = workspace.kept("texts"), workspace.kept("tokens")
    with progress_bar("augment, texts", context.console) as on_progress:
        counts = dataset.augment_dataset(task.train, candidates, draw, texts, on_progress=on_progress)
    with progress_bar("augment, shards to tokens", context.console) as on_progress:
        rows = dataset.tokenise_dataset(
            texts, context.data.tokenizer, tokens, max_length=task.max_length, on_progress=on_progress
        )
    drift = None
    row, is_variant = dataset.origins_of(texts)
    variants, dropped = np.flatnonzero(is_variant), np.zeros(len(row), dtype=bool)
    if section.drop_flips_above is not None and len(variants):
        with progress_bar("augment, teacher's labels", context.console) as on_progress:
            precision = recipe.training.precision
            logits = predict_logits(context.data.teacher, rows, precision=precision, on_progress=on_progress)
        before = logits[row[variants]]  # the first rows are the originals, in their order
        drift = context.kind.drift(logits[variants], before)
        dropped[variants] = context.kind.changed_above(logits[variants], before, section.drop_flips_above)

    def write(output: object) -> None:
        for folder in (texts, tokens):
            dataset.copy_without(folder, workspace.output / folder.name, dropped)

    workspace.save(write)
    return AugmentResult(
        counts=counts, vectors=_vectors_used(candidates.vectors), drift=drift, num_dropped=int(dropped.sum())
    )


def load_candidates(context: StageContext) -> Candidates:
    """The sources that the recipe names, loaded."""
    recipe = context.recipe
    section = augmentation_of(recipe)
    trained = section.masked_lm.train_head is not None
    name = str(context.folder / "masked_lm" / "model") if trained else masked_lm_of(recipe)
    # half precision only where it is asked for: in it a word's candidates depend a little on the rest of the batch
    precision = "fp32" if recipe.training.precision == "auto" else recipe.training.precision
    masked_lm = MaskedLM(loading.load_masked_lm(name), loading.load_tokenizer(name), precision=precision)
    vectors = None
    if section.vectors is not None:
        vectors = load_vectors(section.vectors, cache=cache_folder(), max_words=section.max_vectors)
        context.console.print(f"  augment: {vectors.num_words:,} word vectors of {vectors.dimension} numbers")
    return Candidates(
        masked_lm=masked_lm,
        vectors=vectors,
        stop_words=load_stop_words(section.stop_words),
        count=section.candidates,
        max_length=min(context.task.max_length, max_tokens(read_config(name))),
    )


def _vectors_used(vectors: Vectors | None) -> WordVectorsUsed | None:
    if vectors is None:
        return None
    missing = sorted(vectors.missing)
    return WordVectorsUsed(
        name=vectors.name,
        dimension=vectors.dimension,
        num_words=vectors.num_words,
        num_missing=len(missing),
        missing=missing[:MISSING_WORDS_LISTED],
    )
