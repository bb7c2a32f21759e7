"""Task distillation, last step: the student learns the teacher's logits. Optional: labels, pruning, a search."""

from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.augmentation import dataset
from compress.common.progress import progress_bar
from compress.data.tokenization import TokenDataset
from compress.distillation import stage_functions
from compress.distillation.objective import Objective
from compress.distillation.successive_halving import Candidate, Trained
from compress.distillation.training_loop import rows_seen
from compress.models import loading
from compress.models.inference import predict_logits
from compress.models.vocabulary import PrunedVocabulary, prune_embedding, prune_vocabulary
from compress.results import PredictionResult, SearchPoint, TrainingResult, VocabularyResult
from pocketbert.data.corpora import error_context, texts_of
from pocketbert.recipe.choices import candidates_of
from pocketbert.stage_parts.context import StageContext
from pocketbert.stage_parts.task_data import EncodedSplits
from pocketbert.stage_parts.trainings import (
    candidate_training,
    init_head,
    load_student,
    schedule_of,
    search_candidates,
    train_context_of,
    with_rounding,
)
from pocketbert.store.workspace import Workspace

DRIFT_TEXTS = 2000
MAX_CORPUS_TEXTS = 500_000  # for the token counts that vocabulary pruning needs


@dataclass(frozen=True, kw_only=True)
class _StudentData:
    """The task in the student's tokens. `texts`: the training texts."""

    tokenizer: PreTrainedTokenizerBase
    encoded: EncodedSplits
    texts: TokenDataset


def distill_prediction(context: StageContext, workspace: Workspace) -> PredictionResult:
    """Train the student on the teacher's logits for the training texts, and save the complete model."""
    learner = load_student(context, "intermediate")
    init_head(context, learner)
    student = learner.student
    data, vocabulary = _student_data(context, workspace, student)
    before = context.data.scores(student, data.encoded)
    label_weight = context.recipe.distill.prediction.label_weight
    if label_weight > 0:
        data = replace(data, texts=data.texts.with_column("labels", _training_labels(context)))
    seen = _rows_seen(context, data.texts) if label_weight < 1 else np.array([], dtype=int)
    augmented, originals = _drift_sample(context, seen)
    logits = _teacher_logits(context, np.union1d(seen, originals), workspace)
    with with_rounding(context.recipe, student):
        training, search = _train(context, workspace, student, data, logits, before.dev)
    workspace.save(lambda output: loading.save_model(student, data.tokenizer, output / "model"))
    return PredictionResult(
        training=training,
        scores_before=before,
        scores=context.data.scores(student, data.encoded),
        num_parameters=loading.num_parameters(student),
        search=search,
        vocabulary=vocabulary,
        drift=context.task_type.drift(logits[augmented], logits[originals]) if len(augmented) else None,
    )


def _student_data(
    context: StageContext, workspace: Workspace, student: PreTrainedModel
) -> tuple[_StudentData, VocabularyResult | None]:
    """The task in the student's tokens. Prunes the student's embedding if the recipe prunes the vocabulary."""
    if context.recipe.student.vocabulary is None:
        return _StudentData(
            tokenizer=context.data.tokenizer, encoded=context.data.encoded, texts=context.data.training_texts
        ), None
    pruned = workspace.decide(lambda: _pruned_vocabulary(context))
    prune_embedding(student, pruned)
    encoded = context.data.encoded_with(pruned.tokenizer)
    if context.recipe.augment is None:
        texts = encoded.train.without_column("labels")
    else:
        rows = context.folder / "augment" / "texts"
        length = context.task.max_length
        texts = dataset.tokenise_dataset(rows, pruned.tokenizer, workspace.kept_path("tokens"), max_length=length)
    result = VocabularyResult(
        num_tokens=len(pruned.kept_ids), num_tokens_before=len(context.data.tokenizer), coverage=pruned.coverage
    )
    return _StudentData(tokenizer=pruned.tokenizer, encoded=encoded, texts=texts), result


def _pruned_vocabulary(context: StageContext) -> PrunedVocabulary:
    """The tokens of the train texts, and the most frequent ones of the general corpus."""
    section, general = context.recipe.student.vocabulary, context.recipe.distill.general
    assert section is not None
    train = [*context.task.train.texts, *(context.task.train.pairs or [])]
    corpus = iter(()) if general is None else islice(texts_of(general, context.task), MAX_CORPUS_TEXTS)
    with error_context(general) if general is not None else nullcontext():
        return prune_vocabulary(context.data.tokenizer, train, corpus, size=section.size, coverage=section.coverage)


def _training_labels(context: StageContext) -> np.ndarray:
    """The labels of the training texts, in the form of a split's labels. An augmented text has that of its original."""
    labels = context.task.train.labels
    if context.recipe.augment is None:
        return labels
    return labels[dataset.origins_of(context.folder / "augment" / "texts").row]


def _rows_seen(context: StageContext, texts: TokenDataset) -> np.ndarray:
    """The row numbers that the stage trains on, over all candidates of its search."""
    section = context.recipe.distill.prediction
    candidates = candidates_of(section) if section.search is not None else []
    schedules = [schedule_of(section), *(replace(schedule_of(section), **asdict(each)) for each in candidates)]
    seen = [rows_seen(texts.lengths, schedule, seed=context.task_seed) for schedule in schedules]
    return np.unique(np.concatenate(seen))


def _drift_sample(context: StageContext, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A random sample of the augmented texts among these rows, and the original row of each."""
    if context.recipe.augment is None:
        return np.array([], dtype=int), np.array([], dtype=int)
    origin, is_augmented = dataset.origins_of(context.folder / "augment" / "texts")
    sample = np.random.default_rng(context.task_seed).permutation(seen[is_augmented[seen]])[:DRIFT_TEXTS]
    return sample, origin[sample]  # the first rows are the originals, in their order


def _teacher_logits(context: StageContext, seen: np.ndarray, workspace: Workspace) -> np.ndarray:
    """The teacher's logits, (training texts, classes), with NaN in rows that are not seen. Computed once."""
    texts = context.data.training_texts
    if not len(seen):  # the stage learns the labels only
        num_outputs = context.data.teacher.config.num_labels or 1
        return np.full((len(texts.lengths), num_outputs), np.nan, dtype=np.float32)

    def compute() -> np.ndarray:
        with progress_bar("teacher's logits", context.console) as on_progress:
            computed = predict_logits(
                context.data.teacher,
                texts.take(seen),
                precision=context.recipe.compute.precision,
                on_progress=on_progress,
            )
        logits = np.full((len(texts.lengths), computed.shape[1]), np.nan, dtype=np.float32)
        logits[seen] = computed
        return logits

    return workspace.computed_once("teacher_logits", compute)


def _train(
    context: StageContext,
    workspace: Workspace,
    student: PreTrainedModel,
    data: _StudentData,
    logits: np.ndarray,
    score_before: float,
) -> tuple[TrainingResult, list[SearchPoint]]:
    """Train the student in place, after a search if the recipe has one. Returns the points of the search too.

    If no epoch reaches `score_before`, the student keeps its weights, and the best epoch is 0.
    """
    section = context.recipe.distill.prediction
    evaluate = partial(context.data.dev_score, encoded=data.encoded)
    if section.quantisation is not None:
        score_before = evaluate(student)
    objective = Objective(
        prediction=1.0 - section.label_weight,
        labels=section.label_weight,
        temperature=section.temperature,
        task_type=context.task.type,
    )
    distill = partial(
        stage_functions.distill_logits,
        student,
        logits,
        data.texts,
        objective,
        evaluate=evaluate,
        epoch_rows=len(context.task.train),  # the interval of evaluations, with and without augmented texts
    )
    schedule, train_context = schedule_of(section), train_context_of(context, workspace, "prediction")
    start, points = _weights_of(student), list[SearchPoint]()
    if section.search is not None:

        def train(candidate: Candidate, stop_at: int) -> Trained:
            student.load_state_dict(start)
            distill(*candidate_training(context, workspace, "prediction", section, candidate), stop_at=stop_at)
            return context.data.dev_results(predict_logits(student, data.encoded.dev))

        best, points = search_candidates(context, workspace, "prediction", section, len(data.texts.lengths), train)
        schedule, train_context = candidate_training(context, workspace, "prediction", section, best)
        student.load_state_dict(start)
    training = distill(schedule, train_context)
    if max(training.dev_scores) < score_before:
        student.load_state_dict(start)
        training = replace(training, best_epoch=0)
    return training, points


def _weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}
