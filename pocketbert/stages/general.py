"""General distillation: a new student learns the layers of the base on running text."""

from compress.distillation import stage_functions
from compress.models import loading
from compress.results import GeneralResult
from pocketbert.data.corpora import texts_of
from pocketbert.stage_parts.context import StageContext
from pocketbert.stage_parts.trainings import corpus_blocks, initial_student, objective_of, schedule_of, train_context_of
from pocketbert.store.workspace import Workspace


def distill_general(context: StageContext, workspace: Workspace) -> GeneralResult:
    """Train a new student on the layers of the base. Save its encoder and projections."""
    teacher, section = context.recipe.teacher, context.recipe.distill.general
    assert section is not None
    base = loading.load_encoder(teacher.base or str(context.folder / "teacher" / "model"))
    names = [name for name in (teacher.base, teacher.model) if name is not None]
    loading.require_equal_tokenizers(*names)
    tokenizer = loading.load_tokenizer(names[0])
    corpus = texts_of(section, context.task)
    texts = corpus_blocks(context, workspace, corpus, section, tokenizer, at_least=schedule_of(section).batch_size)
    learner = initial_student(context, base, texts)
    training = stage_functions.distill_layers(
        learner,
        base,
        texts,
        objective_of(section, learner.student.config, base.config),
        schedule_of(section),
        train_context_of(context, workspace, "general"),
        layer_map=context.recipe.distill.layer_map,
    )
    workspace.save(lambda output: learner.save_encoder(output / "model", tokenizer))
    return GeneralResult(training=training, num_rows=len(texts.lengths))
