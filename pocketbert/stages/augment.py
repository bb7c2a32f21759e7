"""Data augmentation: the train texts and their augmented copies, as text and as the teacher's tokens."""

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
from pocketbert.stage_parts.context import StageContext
from pocketbert.store.stage_cache import cache_folder
from pocketbert.store.workspace import Workspace

MISSING_WORDS_LISTED = 50


def augment_data(context: StageContext, workspace: Workspace) -> AugmentResult:
    """Write the train rows and their augmented copies, and count the replaced words.

    The teacher predicts here only if the recipe drops label flips. Otherwise the prediction stage measures the drift.
    """
    recipe, task = context.recipe, context.task
    section = augmentation_of(recipe)
    candidates = load_candidates(context)
    options = dataset.SamplingOptions(
        copies_per_text=section.copies_per_text, probability=section.probability, seed=recipe.seed
    )
    texts, tokens = workspace.kept_path("texts"), workspace.kept_path("tokens")
    with progress_bar("augment, texts", context.console) as on_progress:
        counts = dataset.augment_dataset(task.train, candidates, options, texts, on_progress=on_progress)
    with progress_bar("augment, shards to tokens", context.console) as on_progress:
        rows = dataset.tokenise_dataset(
            texts, context.data.tokenizer, tokens, max_length=task.max_length, on_progress=on_progress
        )
    drift = None
    origin, is_augmented = dataset.origins_of(texts)
    augmented, dropped = np.flatnonzero(is_augmented), np.zeros(len(origin), dtype=bool)
    if section.drop_flips_above is not None and len(augmented):
        with progress_bar("augment, teacher's labels", context.console) as on_progress:
            precision = recipe.compute.precision
            logits = predict_logits(context.data.teacher, rows, precision=precision, on_progress=on_progress)
        original_logits = logits[origin[augmented]]  # the first rows are the originals, in their order
        task_type = context.task_type
        drift = task_type.drift(logits[augmented], original_logits)
        dropped[augmented] = task_type.changed_above(logits[augmented], original_logits, section.drop_flips_above)

    def write(output: object) -> None:
        for folder in (texts, tokens):
            dataset.copy_without(folder, workspace.output / folder.name, dropped)

    workspace.save(write)
    return AugmentResult(
        counts=counts, vectors=_vectors_used(candidates.vectors), drift=drift, num_dropped=int(dropped.sum())
    )


def load_candidates(context: StageContext) -> Candidates:
    """Load the masked language model and the word vectors, which propose replacements."""
    recipe = context.recipe
    section = augmentation_of(recipe)
    has_trained_head = section.masked_lm.train_head is not None
    name = str(context.folder / "masked_lm" / "model") if has_trained_head else masked_lm_of(recipe)
    # no 16-bit precision by default: in it, the candidates of a word depend a little on the other texts of the batch
    precision = "fp32" if recipe.compute.precision == "auto" else recipe.compute.precision
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
