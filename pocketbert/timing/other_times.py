"""The time of the stages that do not train: baseline, augmentation, export and benchmark. Loads no torch.

Their numbers of rows are known, and the speed of a forward pass is timed. The rest is assumed, with a wide margin.
"""

from compress.models.compatibility import EncoderFacts, read_encoder
from pocketbert.recipe.sections import Recipe, masked_lm_of
from pocketbert.timing.amounts import Sizes, Speeds, num_texts
from pocketbert.timing.bench_duration import benchmark_seconds_of
from pocketbert.timing.step_cost import ForwardCost, TimeRange, of_fixed, of_passes, total

MAX_BASELINE_ROWS = 20_000
BASELINE_S, READ_S, LINEAR_S = 1.0, 4e-6, 1e-6  # in all; per token; per token and output
REPLACEABLE_SHARE = 0.5  # words for which augmentation asks the masked language model, per token
LOAD_S, VECTORS_S, TOKENS_WRITTEN_PER_S = 2.0, 20.0, 1e5
EXPORT_S, VARIANT_S, VARIANT_WEIGHT_S = 5.0, 3.0, 8e-8  # a model, a variant of it, each weight of a variant
INVARIANCE_ROWS, STEP_ROWS, TEACHER_ROWS = 256, 1000, 256  # as in the export
SINGLE_SHARE, BATCH_SHARE = 0.25, 0.8  # of torch's time, in onnxruntime
EXPORT_MARGIN, BENCH_MARGIN = 1.75, 1.5


def baseline(sizes: Sizes) -> TimeRange:
    """The TF-IDF baseline, whose time grows with the rows and the classes."""
    outputs = sizes.num_labels
    rows = min(sizes.num_train, MAX_BASELINE_ROWS)
    return of_fixed(BASELINE_S + (READ_S + LINEAR_S * outputs) * rows * sizes.mean_tokens)


def augmentation(recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    """A query of the masked language model per replaceable word, and the new texts as tokens."""
    section = recipe.augment
    assert section is not None
    base = read_encoder(recipe.teacher.model or recipe.teacher.base or "")
    relative_size = encoder_weights(read_encoder(masked_lm_of(recipe))) / encoder_weights(base)
    num_queries = REPLACEABLE_SHARE * sizes.mean_tokens * sizes.num_train
    num_rows = num_texts(recipe, sizes)
    num_filtered = num_rows if section.drop_flips_above is not None else 0
    return total(
        [
            of_fixed(LOAD_S + num_queries * sizes.mean_tokens * relative_size * speeds.teacher.per_token_s),
            of_fixed(num_rows * sizes.mean_tokens / TOKENS_WRITTEN_PER_S),
            of_fixed(0.0 if section.vectors is None else VECTORS_S),
            of_passes(speeds.teacher, num_filtered, sizes.mean_tokens),
        ]
    )


def export(recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    """The student and the teacher as graphs, and a comparison of each variant with torch."""
    section = recipe.export
    student, teacher = speeds.student, speeds.teacher
    step_rows, teacher_rows = min(STEP_ROWS, sizes.num_dev), min(TEACHER_ROWS, sizes.num_dev)
    seconds = EXPORT_S + 2 * _comparison_seconds(student, step_rows, 0, sizes, is_dynamic=False)
    for variant in section.variants:
        seconds += VARIANT_S + VARIANT_WEIGHT_S * sizes.student_weights
        seconds += _comparison_seconds(
            student, sizes.num_dev, sizes.num_test, sizes, is_dynamic=variant.endswith("dynamic")
        )
    if section.teacher_variants:
        num_comparisons = 2 + len(section.teacher_variants)
        seconds += EXPORT_S + num_comparisons * _comparison_seconds(teacher, teacher_rows, 0, sizes, is_dynamic=False)
        seconds += len(section.teacher_variants) * (VARIANT_S + VARIANT_WEIGHT_S * sizes.teacher_weights)
    return TimeRange(expected_s=seconds, maximum_s=EXPORT_MARGIN * seconds)


def bench(recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    """The benchmark with the effort of the recipe."""
    seconds = benchmark_seconds_of(
        recipe,
        num_test_rows=sizes.num_test,
        teacher_ms=1e3 * speeds.teacher.single_s,
        student_ms=1e3 * speeds.student.single_s,
        mean_tokens=sizes.mean_tokens,
    )
    return TimeRange(expected_s=seconds, maximum_s=BENCH_MARGIN * seconds)


def _comparison_seconds(
    cost: ForwardCost, num_compared: int, num_scored: int, sizes: Sizes, *, is_dynamic: bool
) -> float:
    """The comparison of a variant with torch. `is_dynamic`: its predictions depend on the batch, so it runs unbatched.

    The comparison begins with rows that run unbatched, in batches and with padding.
    """
    single_s, batch_s = SINGLE_SHARE * cost.single_s, BATCH_SHARE * sizes.mean_tokens * cost.per_token_s
    num_invariance = 3 * min(INVARIANCE_ROWS, num_compared)
    return num_invariance * single_s + (num_compared + num_scored) * (single_s if is_dynamic else batch_s)


def encoder_weights(encoder: EncoderFacts) -> int:
    """The weights of an encoder without embeddings, on which the time of a forward pass depends."""
    return encoder.layers * (4 * encoder.width**2 + 2 * encoder.width * encoder.ffn_width)
