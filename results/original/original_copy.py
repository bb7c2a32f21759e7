"""A runnable copy of the original TinyBERT scripts: their environment, repairs, and changes of one property at a time.

The scripts are those of huawei-noah/Pretrained-Language-Model, folder TinyBERT. Nothing of them is stored here: each
replacement names a fact of them, such as a number or the order of arguments.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.environments import Peer, environment
from compress.common.errors import UserError
from compress.distillation.auto_schedule import layer_wise_rate, prediction_rate

TRAINING, MODEL, OPTIMISER = "task_distill.py", "transformer/modeling.py", "transformer/optimization.py"
SCRIPTS = Peer(
    name="tinybert",
    module="",
    engine="torch",
    requirements=(
        "boto3==1.44.8",
        "numpy==2.4.6",
        "requests==2.34.2",
        "scikit-learn==1.9.1",
        "scipy==1.17.1",
        "torch==2.13.0",
        "tqdm==4.70.1",
    ),
    variants=(),
)


@dataclass(frozen=True)
class Replacement:
    """Every match of a regular expression in a file gets a new text. There must be `count` matches."""

    file: str
    pattern: str
    text: str
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A property in which the scripts differ from PocketBERT, changed to that of PocketBERT.

    `student`, `teacher`: entries of their config.json. `evaluates_once`: evaluate only before the last step, not every
    50 steps. `rates`: the learning rates of steps 1 and 2. `own_projection`: the projection of hidden states starts
    from the random numbers of the scripts.
    """

    meaning: str
    replacements: Sequence[Replacement] = ()
    student: Mapping[str, float] = field(default_factory=dict)
    teacher: Mapping[str, float] = field(default_factory=dict)
    evaluates_once: bool = False
    rates: tuple[float, float] | None = None
    own_projection: bool = False


WIDTH = 312  # of the student
ORIGINAL_RATES = (5e-5, 3e-5)  # of the README of the scripts
POCKETBERT_RATES = (layer_wise_rate(WIDTH), prediction_rate(WIDTH))
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
FACTORS = {
    "no-dropout": Factor(meaning="the student has no dropout, instead of 0.1", student=NO_DROPOUT),
    "teacher-eval": Factor(
        meaning="the teacher has no dropout; the scripts leave it in training mode", teacher=NO_DROPOUT
    ),
    "two-projections": Factor(
        meaning="the embedding has a projection of its own, and neither projection has a bias",
        replacements=[
            Replacement(
                MODEL,
                r"self\.fit_dense = nn\.Linear\(config\.hidden_size, fit_size\)",
                "self.fit_dense, self.fit_embedding = "
                "(nn.Linear(config.hidden_size, fit_size, bias=False) for _ in range(2))",
                2,
            ),
            Replacement(
                MODEL,
                r"self\.fit_dense\(sequence_layer\)",
                "(self.fit_dense if s_id else self.fit_embedding)(sequence_layer)",
                2,
            ),
        ],
    ),
    "masked-losses": Factor(
        meaning="losses are means over the real positions of each text; padding does not count",
        replacements=[
            Replacement(
                TRAINING,
                r"loss_mse\(student_att, teacher_att\)",
                "masked_mse(student_att, teacher_att, input_mask[:, None, :, None] * input_mask[:, None, None, :])",
            ),
            Replacement(
                TRAINING,
                r"loss_mse\(student_rep, teacher_rep\)",
                "masked_mse(student_rep, teacher_rep, input_mask[:, :, None])",
            ),
        ],
    ),
    "short-padding": Factor(
        meaning="a batch is as long as its longest text, in training and in evaluation",
        replacements=[Replacement(TRAINING, r"(?m)seq_lengths = (batch_?)$", r"seq_lengths = trimmed(\1)", 2)],
    ),
    "similar-lengths": Factor(
        meaning="a batch has texts of similar lengths, from windows of 50 batches",
        replacements=[
            Replacement(
                TRAINING,
                r"DataLoader\(train_data, sampler=train_sampler, batch_size=args\.train_batch_size\)",
                "similar_lengths(train_data, args.train_batch_size, args.seed)",
            )
        ],
    ),
    "bias-correction": Factor(
        meaning="Adam corrects the bias of its moments",
        replacements=[
            Replacement(
                OPTIMISER,
                r"next_m / \(next_v\.sqrt\(\) \+ group\['e'\]\)",
                "corrected(next_m, beta1, state) / (corrected(next_v, beta2, state).sqrt() + group['e'])",
            )
        ],
    ),
    "global-clipping": Factor(
        meaning="the norm of all gradients together is at most 1, instead of that of each tensor",
        replacements=[
            Replacement(OPTIMISER, r"max_grad_norm=1\.0", "max_grad_norm=-1"),
            Replacement(
                TRAINING,
                r"optimizer\.step\(\)",
                "torch.nn.utils.clip_grad_norm_(student_model.parameters(), 1.0), optimizer.step()",
            ),
        ],
    ),
    "linear-decay": Factor(
        meaning="step 1 has 10% warm-up and linear decay, instead of a constant rate",
        replacements=[Replacement(TRAINING, r"schedule = 'none'", "schedule = 'warmup_linear'")],
    ),
    "summed-loss": Factor(
        meaning="the prediction loss is a sum over the classes, instead of a mean",
        replacements=[
            Replacement(TRAINING, r"(targets_prob \* student_likelihood\))\.mean\(\)", r"\1.sum(dim=-1).mean()")
        ],
    ),
    "last-evaluation": Factor(
        meaning="one evaluation before the last step, instead of the best of one every 50 steps", evaluates_once=True
    ),
    "pocketbert-rates": Factor(
        meaning="the learning rates that PocketBERT chooses for this width, instead of those of the scripts' README",
        rates=POCKETBERT_RATES,
    ),
    "own-projection": Factor(
        meaning="the projection starts from the random numbers of the scripts, instead of PocketBERT's",
        own_projection=True,
    ),
}
ALL = "all"  # every change to PocketBERT's ways


def repairs(teacher_width: int) -> list[Replacement]:
    """What the scripts need for this teacher, and for the torch of today."""
    return [
        Replacement(MODEL, r"fit_size=768", f"fit_size={teacher_width}", 2),
        # a ReLU before the classifier, with which no teacher of another origin gives its own logits
        Replacement(MODEL, r"self\.classifier\(torch\.relu\(pooled_output\)\)", "self.classifier(pooled_output)"),
        Replacement(OPTIMISER, r"\.add_\((1 - beta1), grad\)", r".add_(grad, alpha=\1)"),
        Replacement(OPTIMISER, r"\.addcmul_\((1 - beta2), grad, grad\)", r".addcmul_(grad, grad, value=\1)"),
    ]


def factors_in(variant: str) -> list[Factor]:
    """The factors of a variant, such as no-dropout+linear-decay or all. No factors: the scripts as they are."""
    names = [name for name in variant.split("+") if name]
    return [factor for name, factor in FACTORS.items() if name in names or (ALL in names and not factor.own_projection)]


def patched_copy(source: Path, folder: Path, *, teacher_width: int, variant: str = "") -> Path:
    """Copy the scripts into a new folder, with the repairs and the factors of a variant. Raises UserError."""
    shutil.copytree(source, folder)
    changes = [*repairs(teacher_width), *(change for factor in factors_in(variant) for change in factor.replacements)]
    for change in changes:
        path = folder / change.file
        text, count = re.subn(change.pattern, change.text, path.read_text(encoding="utf-8"))
        if count != change.count:
            raise UserError(
                f"{source / change.file}: {change.pattern} matches {count} times; expected {change.count}; give the "
                "folder TinyBERT of commit 170f475 or later"
            )
        path.write_text(text, encoding="utf-8")
    return folder


def interpreter(folder: Path) -> Path:
    """The interpreter of the scripts' environment, which is built in `folder` unless it is there."""
    return environment(SCRIPTS, folder)
