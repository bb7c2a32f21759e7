"""Bundles of tiny random models for what a single-text classifier does not show: pairs and regression of pairs."""

import random
import shutil
import sys
from pathlib import Path

from tests.interop.environments import STAMP

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
NAMES = ("pairs", "regression")


def build_tiny_bundles(folder: Path) -> list[Path]:
    """The bundles folder/pairs and folder/regression, built unless they are there."""
    stamp = folder / STAMP
    if not stamp.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("of-pairs", "of-values"):
            (folder / name).mkdir(parents=True)
        sys.path.insert(0, str(HELPERS))
        _build(folder)
        stamp.touch()
    return [folder / name for name in NAMES]


def _build(folder: Path) -> None:
    import torch
    from transformers import BertForSequenceClassification

    from tiny_bert import config, make_tokenizer, rows, write_csv
    from tiny_bundles import build_fp32_bundle, build_pair_bundle

    torch.manual_seed(0)
    value = {"id2label": {0: "score"}, "label2id": {"score": 0}}
    for name, changes in (("pairs", {}), ("regression", value)):
        model = folder / "models" / name
        BertForSequenceClassification(config(**changes)).save_pretrained(model)
        make_tokenizer().save_pretrained(model)
    build_pair_bundle(folder / "of-pairs", folder / "models" / "pairs").rename(folder / "pairs")
    generator = random.Random(0)
    lines = [(text, " ".join(text.split()[::-1]), f"{generator.random():.3f}") for text, _ in rows(60)]
    table = write_csv(folder / "values.csv", ("first", "second", "label"), lines)
    built = build_fp32_bundle(
        folder / "of-values", folder / "models" / "regression", table, ["first", "second"], task_type="regression"
    )
    built.rename(folder / "regression")
