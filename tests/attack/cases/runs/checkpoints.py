"""Checkpoints, finished stages and caches are damaged.

The run must go on, and end with the weights of the sound run.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.attack.attack import Attack, Case, Command, Running, Scratch
from tests.attack.cases.runs.kills import SURE_CODES, differences, kill_after, seconds_of_stages
from tests.attack.material import flip_bit, truncate

TYPE = "checkpoints and caches"
STAGES = ("teacher", "prediction")  # in the cache, and in the run folder
LATE = 0.8  # the share of a stage after which it has a checkpoint
SUFFIXES = (".safetensors", ".pt", ".pth", ".json", ".npy", ".arrow", "")


def attacks(seed: int) -> list[Attack]:
    """Files of an interrupted stage, finished stages in the cache, and downloaded data."""
    return [
        *[
            _interrupted(stage, suffix, way)
            for stage in STAGES
            for suffix in SUFFIXES
            for way in (("half", "empty") if suffix else ("gone",))
        ],
        *[_interrupted("prediction", ".safetensors", way) for way in ("flipped", "gone", "zeros")],
        *[_cached(stage, way) for stage in ("teacher", "general", "augment") for way in ("half", "flipped", "gone")],
        *[_cached("teacher", "link"), _cached("teacher", "record")],
        *[_finished(way) for way in ("half", "flipped", "gone", "report")],
        *[_download(way) for way in DOWNLOADS],
    ]


WAYS: dict[str, Callable[[Path], object]] = {
    "half": lambda path: truncate(path, 0.5),
    "empty": lambda path: truncate(path, 0),
    "flipped": lambda path: flip_bit(path, path.stat().st_size * 4),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
    "link": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
}


def _sound_run(scratch: Scratch) -> Command:
    return Command(words=["run", scratch.material.recipe, "--output", "run", "--until", "prediction"], limit_s=300)


def _interrupted(stage: str, suffix: str, way: str) -> Attack:
    """The run is killed late in the stage; all files of its checkpoints with this suffix are damaged."""

    def prepare(scratch: Scratch) -> Case:
        seconds = LATE * seconds_of_stages(scratch.material)[stage]

        def kill_and_damage(running: Running) -> None:
            kill_after(stage, seconds)(running)
            os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
            for path in _files_of_checkpoints(scratch.root, suffix):
                WAYS[way](path)

        run = _sound_run(scratch)
        killed = Command(words=run.words, limit_s=300, codes=SURE_CODES, during=kill_and_damage)
        return Case(commands=[killed, run], must_succeed=True, check=partial(_until_prediction, scratch))

    return Attack(name=f"checkpoint/{stage}/all {suffix or 'marks'} {way}", type=TYPE, prepare=prepare, seconds=30)


def _files_of_checkpoints(root: Path, suffix: str) -> list[Path]:
    folders = [Path(folder) for folder, _, _ in os.walk(root) if "checkpoints" in Path(folder).parts]
    return [path for folder in folders for path in folder.iterdir() if path.is_file() and path.suffix == suffix]


def _cached(stage: str, way: str) -> Attack:
    """A finished stage in the cache is damaged; a new run must notice, and do it again."""

    def prepare(scratch: Scratch) -> Case:
        cache = scratch.copy(scratch.material.run_cache, "cache")
        (entry,) = (path for path in (cache / "stages").glob(f"{stage}-*") if path.is_dir())
        files = sorted(path for path in entry.rglob("*") if path.is_file())
        if way == "record":
            truncate(entry.with_suffix(".json"), 0.5)
        else:
            WAYS[way](max(files, key=lambda path: path.stat().st_size))
        return Case(commands=[_sound_run(scratch)], must_succeed=True, check=partial(_until_prediction, scratch))

    return Attack(name=f"cache/{stage}/{way}", type=TYPE, prepare=prepare, seconds=15)


def _finished(way: str) -> Attack:
    """A file of a finished stage in the run folder is damaged; the same command must repair it."""

    def prepare(scratch: Scratch) -> Case:
        run = scratch.copy_run()
        if way == "report":
            for name in ("report.html", "report.md"):
                truncate(run / name, 0.3)
            expected = {name: (scratch.material.run / name).stat().st_size for name in ("report.html", "report.md")}
        else:
            WAYS[way](run / "prediction" / "model" / "model.safetensors")
            expected = {}
        command = Command(words=["run", scratch.material.recipe, "--output", "run"], limit_s=300)

        def check(ended: object) -> list[str]:
            cut = [name for name, size in expected.items() if (run / name).stat().st_size < size / 2]
            return [*differences(scratch.material.run, run, []), *[f"{name}: still truncated" for name in cut]]

        return Case(commands=[command], must_succeed=True, owned=["cache", "run"], check=check)

    return Attack(name=f"finished-stage/{way}", type=TYPE, prepare=prepare, seconds=30)


DOWNLOADS: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_text("text,label\na film,positive\nthe pl", encoding="utf-8"),
    "empty": lambda path: path.write_text("", encoding="utf-8"),
    "another table": lambda path: path.write_text("text,label\n" + "a,positive\nb,negative\n" * 99, encoding="utf-8"),
}


def _download(way: str) -> Attack:
    """Fetched data in the cache are damaged. Without a network they cannot be fetched again, so `check` must refuse."""

    def prepare(scratch: Scratch) -> Case:
        from pocketbert.data.quickstart_data import SHA256
        from tests.attack.build import write_recipe

        path = scratch.root / "cache" / "data" / f"movie-snippets-{SHA256[:12]}.csv"
        path.parent.mkdir(parents=True)
        DOWNLOADS[way](path)
        recipe = write_recipe(scratch.material, scratch.root / "r.yaml", task={"data": "builtin:movie-snippets"})
        command = Command(words=["check", recipe], environment={"PIP_NO_INDEX": "1"})
        return Case(commands=[command], must_refuse=True)

    return Attack(name=f"download/{way}", type=TYPE, prepare=prepare, seconds=5)


def _until_prediction(scratch: Scratch, ended: object) -> list[str]:
    """The differences of the weights; the run ends before the export."""
    lines = differences(scratch.material.run, scratch.root / "run", [])
    return [line for line in lines if not line.startswith(("export/", "bundles/"))]
