"""Shell completion of arguments and option values. Loads neither torch nor transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

TRAINED_STAGES = ("teacher", "general", "masked_lm", "intermediate", "prediction")
BUNDLE_FOLDERS = ("*", "bundles/*", "bundles/*/*", "runs/*/bundles/*")
MODEL_FOLDERS = ("*", "models/*", "runs/*/teacher/model", "runs/*/prediction/model")
RUN_FOLDERS = ("*", "runs/*")


def built_in_recipes(incomplete: str) -> list[tuple[str, str]]:
    """Built-in recipes with their summaries."""
    from pocketbert.recipe.loading import built_in, summary_of

    return [(name, summary_of(path)) for name, path in built_in().items() if name.startswith(incomplete)]


def recipes(incomplete: str) -> list[tuple[str, str]]:
    """Built-in recipes, and the YAML files in the folder that is typed."""
    folder, slash, _ = incomplete.rpartition("/")
    paths = sorted(path for path in Path(folder + slash).glob("*") if path.suffix in (".yaml", ".yml"))
    files = [name for path in paths if (name := folder + slash + path.name).startswith(incomplete)]
    return [*built_in_recipes(incomplete), *((name, "recipe file") for name in files)]


def stage_names(incomplete: str) -> list[str]:
    """The stages of a run, in order."""
    from pocketbert.pipeline.plan import StageName

    return [name for name in get_args(StageName) if name.startswith(incomplete)]


def ablation_tables(incomplete: str) -> list[str]:
    """The tables of an ablation."""
    from pocketbert.ablation.variants import TABLES

    return [name for name in (*TABLES, "all") if name.startswith(incomplete)]


def trained_stage_names(incomplete: str) -> list[str]:
    """The stages with a loss curve, in order."""
    return [name for name in TRAINED_STAGES if name.startswith(incomplete)]


def documents(incomplete: str) -> list[str]:
    """The documents with a JSON Schema."""
    return [name for name in ("recipe", "results") if name.startswith(incomplete)]


def variants(incomplete: str) -> list[str]:
    """The export variants."""
    from export.quantisation.variants import VARIANTS

    return [name for name in VARIANTS if name.startswith(incomplete)]


def bundles(incomplete: str) -> list[str]:
    """Bundles where `run` and `export` write them."""
    return _folders_with("bundle.json", BUNDLE_FOLDERS, incomplete)


def models(incomplete: str) -> list[str]:
    """Hugging Face folders under models/ and in runs. A bundle has a config.json too, but is none."""
    folders = _folders_with("config.json", MODEL_FOLDERS, incomplete)
    return [folder for folder in folders if not Path(folder, "bundle.json").is_file()]


def models_and_bundles(incomplete: str) -> list[str]:
    """All that a benchmark takes."""
    return [*models(incomplete), *bundles(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Finished runs and benchmarks."""
    return _folders_with("results.json", RUN_FOLDERS, incomplete)


def runs_and_bundles(incomplete: str) -> list[str]:
    """All that `explain` takes but export folders."""
    return [*runs(incomplete), *bundles(incomplete)]


def _folders_with(file: str, folders: Sequence[str], incomplete: str) -> list[str]:
    """Visible folders with the file, at a few places below the present one: a search of a home folder takes minutes."""
    paths = [path.parent for folder in folders for path in sorted(Path().glob(f"{folder}/{file}"))]
    return [str(path) for path in paths if path.name[0] != "." and str(path).startswith(incomplete)]
