"""The metadata block of a model card, which the Hugging Face Hub reads. Every text in it is in double quotes."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from compress.common.escaping import one_line
from compress.data.metrics import Metric

TASK = "text-classification"  # the Hub has no other for a regression
LIBRARY = "onnx"
METRICS_OF_THE_HUB: Mapping[Metric, str] = {
    "accuracy": "accuracy",
    "f1": "f1",
    "macro_f1": "f1",
    "matthews": "matthews_correlation",
}
ON_THE_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?: (\S+))?")  # a data set, and its subset
NOT_IN_A_TYPE = re.compile(r"[^\w./-]+")
ENDLESS = 2**30  # columns: a folded text would be hard to read


@dataclass(frozen=True, kw_only=True)
class Score:
    """A measured score. `split`: dev or test. `name`: of the metric in reports."""

    split: str
    metric: Metric
    name: str
    value: float


def card_metadata(
    name: str, *, tags: Sequence[str], base_models: Sequence[str], dataset: str | None, scores: Sequence[Score]
) -> str:
    """The block, with the lines `---` around it.

    Nothing is guessed: there is no licence and no language, and without a data set there are no results. NaN and
    infinity, which no JSON has, are left out.
    """
    name_on_hub = ON_THE_HUB.fullmatch(dataset or "")
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=name_on_hub[1] if name_on_hub else NOT_IN_A_TYPE.sub("-", dataset).strip("-") or "data",
            dataset_config=name_on_hub[2] if name_on_hub else None,
            dataset_name=one_line(dataset),
            dataset_split=score.split,
            metric_type=METRICS_OF_THE_HUB.get(score.metric, score.metric),
            metric_name=one_line(score.name),
            metric_value=score.value,
        )
        for score in scores
        if dataset is not None and math.isfinite(score.value)
    ]
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=[*map(one_line, tags)],
        base_model=[*map(one_line, base_models)] or None,
        model_name=one_line(name),
        eval_results=results or None,
    ).to_dict()
    data.pop("model_name", None)  # there without results; the Hub does not know it
    yaml = YAML()
    yaml.width = ENDLESS
    stream = io.StringIO()
    yaml.dump(_quoted(data), stream)
    return f"---\n{stream.getvalue()}---\n"


def _quoted(value: Any) -> Any:
    """The value with its texts in double quotes. Readers differ on plain ones: `no` is false in YAML 1.1, 1e3 1000."""
    match value:
        case str():
            return DoubleQuotedScalarString(value)
        case list():
            return [_quoted(each) for each in value]
        case dict():
            return {key: _quoted(each) for key, each in value.items()}
    return value
