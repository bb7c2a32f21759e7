"""What a consumer is: an environment, and a driver script that runs in it on one bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.interop.environments import Environment

TASKS = ("pairs", "regression")  # fp32 bundles of tiny_models
FP32 = ("fp32", *TASKS)
FROM_1_16 = (*FP32, "int8-dynamic", "int8-static", "int4-static")
FROM_1_22 = (*FROM_1_16, "int8-weight", "int4-weight")
SAME_LABELS = (*FP32, "int8-static", "int4-static")
ENVIRONMENT_PYTHON = ("{environment}/bin/python", "{driver}")
NODE = ("node", "{driver}")


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A program that loads bundles.

    `promised`: the variants and TASKS that must load here and stay within their tolerance; those of SAME_LABELS must
    change no label. `driver`: a script in drivers/, which reads a job and prints a result, both JSON. `command`: what
    runs it; `{driver}` is the script, `{environment}` the folder of `environment`, and `{NAME}` that of the further
    environment NAME. `options`: further keys of the job. `reports`: what the rows of the result are.
    `max_logit_shift`: a further promise. `num_texts`: of emulators, which are slow; None: all. `note`: for the
    documents.
    """

    name: str
    environment: Environment
    driver: str
    promised: tuple[str, ...]
    command: tuple[str, ...] = ENVIRONMENT_PYTHON
    further: tuple[Environment, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    reports: Literal["logits", "probabilities"] = "logits"
    max_logit_shift: float | None = None
    num_texts: int | None = None
    note: str = ""
