"""Advice on the data and on what is shipped: truncation, splits, quantisation, size."""

from collections.abc import Iterator

from bench.advice.advice import Advice
from bench.advice.run_figures import RunFigures
from export.quantisation.variants import FOR_GPU, VARIANTS

MANY_CUT, SOME_CUT = 0.25, 0.1  # share of truncated rows: always worth a sentence, or only if the student is poor
MOST_TOKENS = 512  # positions of most teachers
QUANTISATION_LOSS = 0.01  # of the score in torch
LARGE_EMBEDDING, LARGE_SHARE = 20e6, 0.7  # bytes, and share of the bundle
SHARE_IF_TOO_LARGE = 0.5  # of a bundle that failed the gate by its size


def on_texts(figures: RunFigures) -> Iterator[Advice]:
    """Advice on truncated texts."""
    lengths = None if figures.stages.export is None else figures.stages.export.lengths
    if lengths is None or lengths.max_length >= MOST_TOKENS:
        return
    if lengths.share_longer < (SOME_CUT if figures.is_poor else MANY_CUT):
        return
    new = min(MOST_TOKENS, max(2 * lengths.max_length, 2 ** (int(lengths.p95) - 1).bit_length()))
    yield Advice(
        sentence=f"{lengths.share_longer:.0%} of the train rows are truncated at {lengths.max_length} tokens, which "
        f"removes {lengths.share_cut:.0%} of all tokens. Allow longer texts; a full one then takes about "
        f"{new / lengths.max_length:.0f} times as long.",
        changes=(f"task.max_length={new}",),
    )


def on_quantisation(figures: RunFigures) -> Iterator[Advice]:
    """Advice on variants that lose more than 1 % of the student's score."""
    exported = figures.stages.export
    variants = {} if exported is None else exported.variants
    losses = {
        name: -variant.parity.difference.value / variant.parity.torch_score
        for name, variant in variants.items()
        if name in VARIANTS
        and VARIANTS[name].weights not in FOR_GPU
        and variant.parity.torch_score > 0
        and variant.parity.difference.high < 0
    }
    quantised = [name for name in variants if name in VARIANTS and VARIANTS[name].weights not in FOR_GPU]
    recommended = None if exported is None else exported.recommended
    if recommended in losses and losses[recommended] > QUANTISATION_LOSS:
        yield Advice(
            sentence=f"Quantisation costs {recommended} {losses[recommended]:.1%} of the student's dev score. Demand "
            "more of a variant, so that another one is recommended.",
            changes=(f"gate.student_share={1 - QUANTISATION_LOSS:g}",),
        )
    elif quantised and all(losses.get(name, 0) > QUANTISATION_LOSS for name in quantised):
        best = min(quantised, key=lambda name: losses[name])
        sentence = f"Quantisation costs every int8 and int4 variant more than 1 % ({best}: {losses[best]:.1%})."
        if "int8-weight" not in variants:
            names = ", ".join([*variants, "int8-weight"])
            yield Advice(
                sentence=f"{sentence} Only the weights of int8-weight are quantised.",
                changes=(f"export.variants=[{names}]",),
            )
        else:
            yield Advice(sentence=f"{sentence} Calibrate with more rows.", changes=("export.calibration_rows=1024",))


def on_splits(figures: RunFigures) -> Iterator[Advice]:
    """Advice on dev and test rows that differ, if the run set them aside itself."""
    gap = figures.split_gap
    if gap is not None and any("set aside" in remark for remark in figures.run.remarks):
        yield Advice(
            sentence=f"The teacher scores {gap.dev:.3f} on dev and {gap.test:.3f} on test. Repeat with other splits.",
            changes=(f"seed={int(figures.number('seed') or 0) + 1}",),
        )


def on_size(figures: RunFigures) -> Iterator[Advice]:
    """Advice on a bundle that consists mostly of its embedding."""
    best, prediction = figures.bundle_row, figures.stages.prediction
    if best is None or best.size_by_part is None or (prediction is not None and prediction.vocabulary is not None):
        return
    embedding = best.size_by_part.embedding
    share = embedding / max(1, best.size_bytes)
    is_too_large = any(" MB, more than " in line for line in figures.run.gate)
    is_large = embedding > LARGE_EMBEDDING and share >= LARGE_SHARE
    if is_large or (is_too_large and share >= SHARE_IF_TOO_LARGE):
        yield Advice(
            sentence=f"The embedding is {share:.0%} of {best.name} ({embedding / 1e6:.0f} of "
            f"{best.size_bytes / 1e6:.0f} MB). Prune the vocabulary to the tokens that the task uses.",
            changes=("student.vocabulary.size=10000",),
        )
