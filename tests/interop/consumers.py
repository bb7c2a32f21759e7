"""What a consumer is: an environment, and a driver script that runs in it on one bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.interop.environments import Environment

FROM_1_16 = ("fp32", "int8-dynamic", "int8-static", "int4-static")
FROM_1_22 = (*FROM_1_16, "int8-weight", "int4-weight")
ENVIRONMENT_PYTHON = ("{environment}/bin/python", "{driver}")
NODE = ("node", "{driver}")


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A program that loads bundles.

    `promised`: the variants that must load here with the right labels. `driver`: a script in drivers/, which reads a
    job and prints a result, both JSON. `command`: what runs it; `{driver}` is the script, `{environment}` the folder of
    `environment`, and `{NAME}` that of the further environment NAME. `options`: further keys of the job. `reports`:
    what the rows of the result are. `max_logit_shift`: a promise for processors without VNNI; None: the promise is that
    of the variant's tolerance. `num_texts`: of emulators, which are slow. `note`: shown under the table.
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
