"""The Python interface: run a recipe, load, verify and benchmark bundles.

Importing this package loads neither torch nor onnxruntime. Each function imports what it needs when it is called.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.results.document import Results
    from bench.results.measurements import Effort
    from compress.common.errors import UserError
    from export.bundle.runtime import Classifier
    from export.bundle.verification import Verification
    from pocketbert.pipeline.flow import RunResult

__all__ = ["UserError", "bench", "load", "run", "verify"]

__version__ = "0.11.0"


def __getattr__(name: str) -> Any:
    """`UserError`, which is not imported above: the console script first checks that `compress` is our package."""
    if name == "UserError":
        from compress.common.errors import UserError

        return UserError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def run(
    recipe: str | Path,
    *,
    output: str | Path | None = None,
    changes: Mapping[str, object] | None = None,
    until: str | None = None,
    smoke: bool = False,
    quiet: bool = False,
) -> "RunResult | None":
    """Run a recipe, as `pocketbert run` does. Skips finished stages and resumes an interrupted one.

    `recipe`: a YAML file, or the name of a built-in recipe. `output`: the run folder, by default `runs/NAME`.
    `changes`: values in place of the recipe's, such as `{"student.preset": "fast3"}`. `until`: stop after this stage.
    `smoke`: run every stage on a few rows. `quiet`: print no progress on standard error.

    Returns the folders of the bundles, the report and all figures; under `torchrun`, None in all processes but the main
    one. Raises UserError for a recipe, data or models that do not work, with all mistakes.
    """
    from compress.common import distributed
    from compress.common.console import new_console
    from pocketbert.pipeline.flow import prepare, run_recipe
    from pocketbert.pipeline.plan import require_stage_name
    from pocketbert.python_arguments import errors_for, overrides_of, path_of
    from pocketbert.shape_design.run_inputs import load_with_shape

    console = new_console(stderr=True, quiet=quiet or not distributed.is_main())
    with errors_for(run, takes_recipe=True):
        require_stage_name(until)
        folder = None if output is None else path_of(output)
        loaded, folder = load_with_shape(
            str(path_of(recipe)), folder, console, changes=overrides_of(changes), smoke=smoke
        )
        return run_recipe(loaded, prepare(loaded, console, folder), folder, console, until=until)


def load(
    bundle: str | Path,
    *,
    num_threads: int | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    golden_check: bool = True,
) -> "Classifier":
    """Load a bundle for prediction, without torch: `load("bundle").predict(["some text"])`.

    It runs the code of the bundle's predict.py, but that of this version. `num_threads`: by default one per physical
    core. `providers`: onnxruntime's execution providers. `golden_check`: False skips the golden examples. Raises
    ValueError for a folder that is no bundle, for changed files, and for a processor with other outputs.
    """
    from export.bundle.runtime import Classifier  # not above: `import pocketbert` loads no onnxruntime
    from pocketbert.python_arguments import path_of

    return Classifier(path_of(bundle), num_threads=num_threads, providers=providers, golden_check=golden_check)


def verify(bundle: str | Path) -> "Verification":
    """Check that a bundle has exactly its files, unchanged, and repeat its golden examples.

    An empty `failures` in the result means that the bundle works on this machine. This detects damage; only a signature
    proves who made the bundle (`pocketbert verify --key`). Raises UserError for a folder that is no bundle, and for
    missing, extra or changed files.
    """
    from export.bundle.verification import verify_bundle
    from pocketbert.python_arguments import path_of

    return verify_bundle(path_of(bundle))


def bench(
    models: str | Path | Iterable[str | Path],
    *,
    data: str | Path | None = None,
    text: str | Sequence[str] = "text",
    label: str = "label",
    labels: Sequence[str] | None = None,
    metric: str | None = None,
    device: str = "cpu",
    num_threads: int | None = None,
    effort: "Effort" = "thorough",
    output: str | Path | None = None,
    quiet: bool = False,
) -> "Results":
    """Compare the latency, throughput, accuracy and size of models and bundles, as `pocketbert bench models` does.

    `models`: Hugging Face folders and bundles; speedups are relative to the first. `data`: a labelled table, for
    accuracy and text lengths; without it, generated sentences. `text`, `label`: its columns; two text columns are a
    pair. `labels`: the table's label for each output of the models, by default their names. `metric`: by default that
    of the models' task. `device`: cpu, cuda or both. `num_threads`: by default all usable cores. `effort`: quick or
    thorough. `output`: a folder for results.json, samples.json and the report. `quiet`: print no progress on standard
    error.

    The rows are in `stages.bench.rows` of the result. Latency is in milliseconds. Raises UserError.
    """
    from compress.common.console import new_console
    from pocketbert.python_arguments import errors_for, path_of, paths_of, require_bench_arguments
    from pocketbert.standalone.bench_models import BenchRequest, bench_models

    with errors_for(bench, takes_recipe=False):
        require_bench_arguments(effort=effort, num_threads=num_threads, labels=labels)
        request = BenchRequest(
            data=None if data is None else path_of(data),
            text=[text] if isinstance(text, str) else list(text),
            label=label,
            labels=labels,
            metric=metric,
            num_threads=num_threads,
            effort=effort,
        )
        return bench_models(
            paths_of(models),
            request,
            device=device,
            compiled=False,
            output=None if output is None else path_of(output),
            console=new_console(stderr=True, quiet=quiet),
        )
