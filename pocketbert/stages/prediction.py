"""Task distillation, last step: the teacher's logits, a vocabulary cut to size, and the best of a search."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from operator import itemgetter

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.augmentation import dataset
from compress.common.progress import progress_bar
from compress.data.tokenization import TokenDataset
from compress.distillation import steps
from compress.distillation.objective import Objective
from compress.distillation.training_loop import rows_seen
from compress.models import loading
from compress.models.inference import predict_logits
from compress.models.vocabulary import PrunedVocabulary, prune_embedding, prune_vocabulary
from compress.results import PredictionResult, SearchPoint, TrainingResult, VocabularyResult
from pocketbert.data.corpora import error_context, texts_of
from pocketbert.stages.context import StageContext
from pocketbert.stages.data import EncodedSplits
from pocketbert.stages.training import init_head, load_student, schedule_of, train_context_of
from pocketbert.store.workspace import Workspace

DRIFT_VARIANTS = 2000
MOST_TEXTS_COUNTED = 500_000  # of the corpus, to see which tokens it uses


@dataclass(frozen=True, kw_only=True)
class _StudentData:
    """The task in the student's tokens: the splits, what it trains on, and its tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    encoded: EncodedSplits
    texts: TokenDataset


def distill_prediction(context: StageContext, workspace: Workspace) -> PredictionResult:
    """Train the student on the teacher's logits of the task's texts, and save it: it is then complete."""
    learner = load_student(context, "intermediate")
    init_head(context, learner)
    student = learner.student
    data, vocabulary = _student_data(context, workspace, student)
    before = context.data.scores(student, data.encoded)
    seen = _rows_seen(context, data.texts)
    variants, originals = _some_variants(context, seen)
    logits = _teacher_logits(context, np.union1d(seen, originals), workspace)
    training, search = _search(context, workspace, student, data, logits, before.dev)
    workspace.save(lambda output: loading.save_model(student, data.tokenizer, output / "model"))
    return PredictionResult(
        training=training,
        scores_before=before,
        scores=context.data.scores(student, data.encoded),
        num_parameters=loading.num_parameters(student),
        search=search,
        vocabulary=vocabulary,
        drift=context.kind.drift(logits[variants], logits[originals]) if len(variants) else None,
    )


def _student_data(
    context: StageContext, workspace: Workspace, student: PreTrainedModel
) -> tuple[_StudentData, VocabularyResult | None]:
    """The data in the teacher's tokens; where the recipe cuts the vocabulary, the student is cut and they are new."""
    if context.recipe.student.vocabulary is None:
        return _StudentData(
            tokenizer=context.data.tokenizer, encoded=context.data.encoded, texts=context.data.training_texts
        ), None
    cut = workspace.decide(lambda: _cut_vocabulary(context))
    prune_embedding(student, cut)
    encoded = context.data.encoded_with(cut.tokenizer)
    if context.recipe.augment is None:
        texts = encoded.train.without_column("labels")
    else:
        rows = context.folder / "augment" / "texts"
        length = context.task.max_length
        texts = dataset.tokenise_dataset(rows, cut.tokenizer, workspace.kept("tokens"), max_length=length)
    result = VocabularyResult(
        num_tokens=len(cut.kept), num_tokens_before=len(context.data.tokenizer), coverage=cut.coverage
    )
    return _StudentData(tokenizer=cut.tokenizer, encoded=encoded, texts=texts), result


def _cut_vocabulary(context: StageContext) -> PrunedVocabulary:
    """The tokens that the task's train texts use, and those that the general corpus (or the task) uses most."""
    wanted, general = context.recipe.student.vocabulary, context.recipe.distill.general
    assert wanted is not None
    train = [*context.task.train.texts, *(context.task.train.pairs or [])]
    corpus = iter(()) if general is None else islice(texts_of(general, context.task), MOST_TEXTS_COUNTED)
    with error_context(general) if general is not None else nullcontext():
        return prune_vocabulary(context.data.tokenizer, train, corpus, size=wanted.size, coverage=wanted.coverage)


def _rows_seen(context: StageContext, texts: TokenDataset) -> np.ndarray:
    """The rows that the stage will train on, over all points of its search."""
    points = context.recipe.distill.prediction.points
    seen = [rows_seen(texts.lengths, schedule_of(point), seed=context.recipe.seed) for point in points]
    return np.unique(np.concatenate(seen))


def _some_variants(context: StageContext, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some augmented texts among these rows, drawn by the seed, and the row that each was made from."""
    if context.recipe.augment is None:
        return np.array([], dtype=int), np.array([], dtype=int)
    row, is_variant = dataset.origins_of(context.folder / "augment" / "texts")
    some = np.random.default_rng(context.recipe.seed).permutation(seen[is_variant[seen]])[:DRIFT_VARIANTS]
    return some, row[some]  # the first rows are the originals, in their order


def _teacher_logits(context: StageContext, seen: np.ndarray, workspace: Workspace) -> np.ndarray:
    """(rows of the training texts, classes), NaN for rows that are not seen. Computed once for all epochs."""
    texts = context.data.training_texts

    def compute() -> np.ndarray:
        with progress_bar("teacher's logits", context.console) as on_progress:
            computed = predict_logits(
                context.data.teacher,
                texts.take(seen),
                precision=context.recipe.training.precision,
                on_progress=on_progress,
            )
        logits = np.full((len(texts.lengths), computed.shape[1]), np.nan, dtype=np.float32)
        logits[seen] = computed
        return logits

    return workspace.computed_once("teacher_logits", compute)


def _search(
    context: StageContext,
    workspace: Workspace,
    student: PreTrainedModel,
    data: _StudentData,
    logits: np.ndarray,
    score_before: float,
) -> tuple[TrainingResult, list[SearchPoint]]:
    """Train the student in place, at each point of the search where there is one, and keep the best on dev.

    Where no epoch reaches `score_before`, the student stays as it was, and the best epoch is 0.
    """
    section = context.recipe.distill.prediction
    setting = train_context_of(context, workspace, "prediction")
    evaluate: Callable[[PreTrainedModel], float] = partial(context.data.dev_score, encoded=data.encoded)
    objective = Objective(prediction=1.0, temperature=section.temperature, task_type=context.task.type)
    start = _weights_of(student)
    best_score, best_weights = score_before, start
    trainings: list[tuple[float, TrainingResult]] = []
    search = []
    for point in section.points:
        student.load_state_dict(start)
        at_point = setting
        if section.search is not None:
            place = f"rate-{point.learning_rate:g}-batch-{point.batch_size}"
            at_point = replace(setting, title=f"prediction, {place}", checkpoints=setting.checkpoints / place)
        training = steps.distill_logits(
            student,
            logits,
            data.texts,
            objective,
            schedule_of(point),
            at_point,
            evaluate,
            epoch_rows=len(context.task.train),  # as often as without augmented texts
        )
        score = max(training.dev_scores)
        search.append(SearchPoint(learning_rate=point.learning_rate, batch_size=point.batch_size, dev_score=score))
        if score > best_score or (score == best_score and best_weights is start):
            best_score, best_weights = score, _weights_of(student)
        trainings.append((score, training))
    student.load_state_dict(best_weights)
    _, best = max(trainings, key=itemgetter(0))
    if best_weights is start:
        best = replace(best, best_epoch=0)
    return best, search if section.search is not None else []


def _weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}
