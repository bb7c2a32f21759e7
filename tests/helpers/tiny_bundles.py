"""The fp32 bundles of a tiny classifier, without a run."""

from pathlib import Path

from compress.data import task_types
from compress.data.task_types import TaskTypeName
from compress.data.tasks import read_split
from compress.models import loading
from export.build_bundles import EvaluationSplits, ExportOptions, Origin, build_bundles
from export.parity.comparison import default_tolerance
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS
from tiny_bert import LABELS, rows, write_csv


def build_fp32_bundle(
    folder: Path, model: Path, table: Path, text: list[str], *, task_type: TaskTypeName = "classification"
) -> Path:
    """Export a classifier of LABELS, or a regression.

    `text`: the text columns of the table, on which it is compared with torch.
    """
    fp32 = VARIANTS["fp32"]
    labels = LABELS if task_type == "classification" else ("score",)
    folder.mkdir(parents=True, exist_ok=True)
    build_bundles(
        loading.load_classifier(str(model)),
        loading.load_tokenizer(str(model)),
        folder,
        splits=EvaluationSplits(dev=read_split(table, text=text, label="label", labels=labels, task_type=task_type)),
        options=ExportOptions(
            task_type=task_type,
            metric=task_types.task_type(task_type).default_metric,
            max_length=32,
            tolerances={fp32: default_tolerance(fp32)},
            static=StaticOptions(),
        ),
        origin=Origin(name="tiny", origin={}, versions={}, measured={}),
        on_progress=lambda done, total, what: None,
    )
    return folder / "fp32"


def build_pair_bundle(folder: Path, model: Path) -> Path:
    """Export a classifier for pairs: a text, and its words in reverse order."""
    lines = [(text, " ".join(text.split()[::-1]), label) for text, label in rows(60)]
    table = write_csv(folder / "pairs.csv", ("first", "second", "label"), lines)
    return build_fp32_bundle(folder / "bundles", model, table, ["first", "second"])
