"""Tests of teachers of every architecture, with both architectures of the student."""

import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from compress.common.errors import UserError
from compress.data.batching import PaddingCollator
from compress.distillation import layer_outputs, stage_functions
from compress.distillation.objective import INTERMEDIATE_LAYERS, DistillationModel
from compress.distillation.stage_functions import initialise
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models import loading
from compress.models.architectures import ARCHITECTURES, TEACHERS
from compress.models.layout import encoder_modules
from compress.models.shape import StudentShape, map_layers
from tiny_bert import LABELS, encode_texts, in_a_recipe, rows

PROJECTABLE = [model_type for model_type, can in ARCHITECTURES.items() if can.weights_can_be_projected]
HALF = StudentShape(layers=2, width=16, ffn_width=32, heads=4)
SAME = StudentShape(layers=4, width=32, ffn_width=64, heads=4)


def classifier(model_type: str, **options: object):
    """A tiny classifier with random weights, which are large enough to have an effect."""
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 64}
    if model_type == "distilbert":
        sizes = {"dim": 32, "n_heads": 4, "n_layers": 4, "hidden_dim": 64}
    if model_type in ("electra", "albert"):
        sizes["embedding_size"] = options.pop("embedding_size", 24)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=27,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        max_position_embeddings=64,
        initializer_range=0.2,
        num_labels=2,
        **sizes,
        **options,
    )
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.fixture
def texts(tokenizer):
    return encode_texts([text for text, _ in rows(80)], tokenizer, max_length=32)


def layer_loss(learner, teacher, texts) -> float:
    batch = PaddingCollator(0)([texts.rows[index] for index in range(16)])
    with torch.no_grad(), layer_outputs.capture_attention(teacher, learner.student):
        outputs = layer_outputs.read(teacher, batch, INTERMEDIATE_LAYERS.requested_outputs).of_layers(
            map_layers("uniform", learner.student.config.num_hidden_layers, 4)
        )
        model = DistillationModel(learner.student.eval(), learner.projections, INTERMEDIATE_LAYERS)
        return sum(values.mean().item() for values in model(teacher=outputs, **batch).values())


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
@pytest.mark.parametrize("model_type", TEACHERS)
def test_the_layers_of_every_teacher_can_be_learned(tmp_path, texts, model_type, architecture):
    teacher = classifier(model_type)
    learner = initialise(
        "random", HALF, teacher, LABELS, texts, task_type="classification", seed=0, architecture=architecture
    )
    assert learner.student.config.model_type == architecture
    before = layer_loss(learner, teacher, texts)
    stage_functions.distill_layers(
        learner,
        teacher,
        texts,
        INTERMEDIATE_LAYERS,
        Schedule(epochs=6, batch_size=16, learning_rate=3e-3),
        TrainContext(title="layers", seed=0, checkpoints=tmp_path),
    )
    assert layer_loss(learner, teacher, texts) < 0.9 * before


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
@pytest.mark.parametrize("model_type", PROJECTABLE)
def test_projected_weights_are_better_than_random_ones(texts, model_type, architecture):
    teacher = classifier(model_type)
    losses = {
        how: layer_loss(
            initialise(
                how, HALF, teacher, LABELS, texts, task_type="classification", seed=0, architecture=architecture
            ),
            teacher,
            texts,
        )
        for how in ("projected", "random")
    }
    assert losses["projected"] < 0.85 * losses["random"], losses


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
@pytest.mark.parametrize("model_type", PROJECTABLE)
def test_a_full_copy_has_the_hidden_states_and_logits_of_its_teacher(texts, model_type, architecture):
    teacher = classifier(model_type, **({"embedding_size": 32} if model_type == "electra" else {}))
    if model_type == "mpnet":  # no student has a bias of relative positions
        torch.nn.init.zeros_(teacher.mpnet.encoder.relative_attention_bias.weight)
    learner = initialise(
        "teacher_layers", SAME, teacher, LABELS, texts, task_type="classification", seed=0, architecture=architecture
    )
    assert layer_loss(learner, teacher, texts) < 1e-10
    if stage_functions.can_init_head_from_teacher(learner.student, teacher):
        stage_functions.init_head_from_teacher(learner, teacher, texts, seed=0)
        batch = PaddingCollator(0)([texts.rows[index] for index in range(8)])
        with torch.no_grad():
            torch.testing.assert_close(learner.student(**batch).logits, teacher(**batch).logits, atol=1e-5, rtol=1e-4)
    else:
        assert encoder_modules(teacher).head is None and model_type in ("electra", "distilbert")


def test_narrow_embeddings_can_be_projected_but_not_copied(texts):
    with pytest.raises(UserError, match="equal embedding_width: student 32, teacher 24"):
        initialise("teacher_layers", SAME, classifier("electra"), LABELS, texts, task_type="classification", seed=0)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [("albert", "its layers share their weights"), ("modernbert", "rotary positions and gated")],
)
@pytest.mark.parametrize("initialisation", ["projected", "teacher_layers"])
def test_the_error_for_weights_that_cannot_be_projected_gives_the_reason(texts, model_type, reason, initialisation):
    message = f"teacher is a {model_type}, whose weights cannot initialise a student: .*{reason}"
    with pytest.raises(UserError, match=message) as error:
        initialise(
            initialisation,
            HALF if initialisation == "projected" else SAME,
            classifier(model_type),
            LABELS,
            texts,
            task_type="classification",
            seed=0,
        )
    assert in_a_recipe(error.value).endswith("; use student.initialisation: random")


def test_models_with_different_tokenizers_are_refused(base_folder, teacher_folder, tmp_path):
    loading.require_equal_tokenizers(str(base_folder), str(teacher_folder))
    other = shutil.copytree(base_folder, tmp_path / "other")
    content = (other / "tokenizer.json").read_text()
    swapped = content.replace('"film": ', '"§": ').replace('"story": ', '"film": ').replace('"§": ', '"story": ')
    assert swapped != content
    (other / "tokenizer.json").write_text(swapped)
    with pytest.raises(UserError, match=r"its tokenizer differs from that of .*; layers are compared token by"):
        loading.require_equal_tokenizers(str(base_folder), str(other))
