"""The last stage of distillation: the teacher's logits, a vocabulary cut to size, and the best of a search."""

from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress import distill, models, processes
from compress.augment import augment, drift
from compress.encoding import Encoded
from compress.inference import predict_logits
from compress.objective import Objective
from compress.progress import progress_bar
from compress.training import Trained, rows_seen
from compress.vocabulary import Cut, cut_embedding, cut_vocabulary
from pocketbert.corpora import named, texts_of
from pocketbert.recipe import VocabularySection
from pocketbert.runs import Workspace
from pocketbert.stages import Stages, schedule_of

DRIFT_VARIANTS = 2000
MOST_TEXTS_COUNTED = 500_000  # of the corpus, to see which pieces it uses


def match_predictions(stages: Stages, workspace: Workspace) -> dict[str, Any]:
    """The teacher's logits on the task's texts; the student is then complete."""
    learner = stages.load_learner("intermediate")
    stages.take_head(learner, stages.encoded["train"].without_column("labels"))
    tokenizer, encoded, texts, told = stages.tokenizer, stages.encoded, stages.texts, {}
    if stages.recipe.student.vocabulary is not None:
        wanted = stages.recipe.student.vocabulary
        cut = processes.from_main(_cut_vocabulary(stages, wanted) if processes.is_main() else None)
        assert cut is not None
        cut_embedding(learner.student, cut)
        tokenizer, encoded = cut.tokenizer, stages.encoded_by(cut.tokenizer)
        texts = _texts_by(stages, cut.tokenizer, encoded, workspace)
        told = {"vocabulary": {"pieces": len(cut.kept), "of": len(stages.tokenizer), "coverage": cut.coverage}}
    before = stages.scores(learner.student, encoded)
    seen = _rows_seen(stages, texts)
    variants, originals = _variants_in(stages, seen)
    logits = _teacher_logits(stages, np.union1d(seen, originals), workspace)
    if len(variants):
        told["drift"] = drift.drift(logits[variants], logits[originals])
    trained, tried = _search(stages, learner.student, texts, logits, encoded, before["dev"], workspace)
    if processes.is_main():
        models.save_model(learner.student, tokenizer, workspace.output / "model")
    return {
        **asdict(trained),
        **told,
        "search": tried,
        "scores_before": before,
        "scores": stages.scores(learner.student, encoded),
        "num_parameters": models.num_parameters(learner.student),
    }


def _search(
    stages: Stages,
    student: PreTrainedModel,
    texts: Encoded,
    logits: np.ndarray,
    encoded: dict[str, Encoded],
    before: float,
    workspace: Workspace,
) -> tuple[Trained, list[dict[str, float]]]:
    """Train the student in place, at each point of the search where there is one, and keep the best on dev.

    `texts`: to train on, in the student's tokens; `logits`: the teacher's of them. `before`: the student's score on
    dev as it comes. Where no epoch reaches it, the student stays as it was, and the best epoch is 0.
    """
    section = stages.recipe.distill.prediction
    setting = stages.setting(workspace, "prediction")
    evaluate = partial(stages.dev_score, encoded=encoded)
    objective = Objective(prediction=1.0, temperature=section.temperature)
    start = _weights_of(student)
    best_score, best_weights = before, start
    found: list[tuple[float, Trained]] = []
    tried = []
    for point in section.points:
        student.load_state_dict(start)
        at = setting
        if section.search is not None:
            place = f"rate-{point.learning_rate:g}-batch-{point.batch_size}"
            at = replace(setting, title=f"prediction, {place}", checkpoints=setting.checkpoints / place)
        trained = distill.match_predictions(
            student,
            logits,
            texts,
            objective,
            schedule_of(point),
            at,
            evaluate,
            epoch_rows=len(stages.task.train),  # as often as without variants
        )
        score = max(trained.dev_scores)
        tried.append({"learning_rate": point.learning_rate, "batch_size": point.batch_size, "dev_score": score})
        if score > best_score or (score == best_score and best_weights is start):
            best_score, best_weights = score, _weights_of(student)
        found.append((score, trained))
    student.load_state_dict(best_weights)
    _, chosen = max(found, key=itemgetter(0))
    if best_weights is start:
        chosen = replace(chosen, best_epoch=0)
    return chosen, tried if section.search is not None else []


def _cut_vocabulary(stages: Stages, wanted: VocabularySection) -> Cut:
    """The pieces that the task's train texts use, and those that the general corpus (or the task) uses most."""
    general = stages.recipe.distill.general
    train = [*stages.task.train.texts, *(stages.task.train.pairs or [])]
    corpus = iter(()) if general is None else islice(texts_of(general, stages.task), MOST_TEXTS_COUNTED)
    with named(general) if general is not None else nullcontext():
        return cut_vocabulary(stages.tokenizer, train, corpus, size=wanted.size, coverage=wanted.coverage)


def _texts_by(
    stages: Stages, tokenizer: PreTrainedTokenizerBase, encoded: dict[str, Encoded], workspace: Workspace
) -> Encoded:
    """`texts`, as another tokenizer than the teacher's reads them. `encoded`: the splits as it reads those."""
    if stages.recipe.augment is None:
        return encoded["train"].without_column("labels")
    rows, tokens = stages.folder / "augment" / "texts", workspace.checkpoints.with_name("tokens")
    return augment.tokenise(rows, tokenizer, tokens, max_length=stages.task.max_length)


def _rows_seen(stages: Stages, texts: Encoded) -> np.ndarray:
    """The rows that the prediction stage will train on, over all points of its search."""
    points = stages.recipe.distill.prediction.points
    seen = [rows_seen(texts.lengths, schedule_of(point), seed=stages.recipe.seed) for point in points]
    return np.unique(np.concatenate(seen))


def _variants_in(stages: Stages, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some variants among these rows, drawn by the seed, and the row that each was made from; none without any."""
    if stages.recipe.augment is None:
        return np.array([], dtype=int), np.array([], dtype=int)
    row, is_variant = augment.origins_of(stages.folder / "augment" / "texts")
    some = np.random.default_rng(stages.recipe.seed).permutation(seen[is_variant[seen]])[:DRIFT_VARIANTS]
    return some, row[some]  # the first rows are the originals, in their order


def _teacher_logits(stages: Stages, seen: np.ndarray, workspace: Workspace) -> np.ndarray:
    """(rows of `texts`, classes), NaN for rows that are not seen. Computed once for all epochs, and kept beside the
    checkpoints for a run that is cut off.
    """
    path = workspace.checkpoints.with_name("teacher_logits.npy")
    if processes.from_main(not path.exists()):
        with progress_bar("teacher's logits", stages.console) as on_progress:
            found = predict_logits(
                stages.teacher,
                stages.texts.take(seen),
                precision=stages.recipe.training.precision,
                on_progress=on_progress,
            )
        if processes.is_main():
            logits = np.full((len(stages.texts.lengths), found.shape[1]), np.nan, dtype=np.float32)
            logits[seen] = found
            partial = path.with_suffix(".partial.npy")
            np.save(partial, logits)
            partial.rename(path)
        processes.from_main(None)  # wait until it is written
    return np.load(path)


def _weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}
