import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from compress.common.code_digest import code_digest, without_comments
from compress.common.errors import UserError
from compress.models import sources
from compress.models.precision import resolve_precision
from pocketbert.pipeline import plan
from pocketbert.pipeline.flow import prepare
from pocketbert.pipeline.plan import MEASURING, ROOT, STAGE_VERSIONS, StageName, general_plan, plan_of
from pocketbert.recipe.sections import Recipe
from pocketbert.store.manifest import first_difference, stage_plan
from pocketbert.store.run_folder import Run
from pocketbert.store.stage_state import state_of

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make(base_folder, reviews):
    def call(**changes: object) -> Recipe:
        content = {
            "name": "tiny",
            "task": {"data": str(reviews), "max_length": 32},
            "teacher": {"base": str(base_folder)},
            "student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4},
            "distill": {"general": {"corpus": "task", "max_length": 32}},
            **changes,
        }
        return Recipe.model_validate(content)

    return call


def fingerprints(recipe: Recipe) -> dict[str, str]:
    return {stage.name: stage.fingerprint for stage in plan_of(recipe, prepare(recipe, QUIET))}


@pytest.mark.parametrize(
    ("changes", "redone"),
    [
        ({"bench": {"rounds": 3}}, {"bench"}),
        ({"export": {"variants": ["fp32"]}}, {"export", "bench"}),
        (
            {"distill": {"general": {"corpus": "task", "max_length": 32}, "prediction": {"epochs": 1}}},
            {"prediction", "export", "bench"},
        ),
        (
            {"distill": {"general": {"corpus": "task", "max_length": 32}, "seed": 1}},
            {"intermediate", "prediction", "export", "bench"},
        ),
        ({"distill": {}}, {"intermediate", "prediction", "export", "bench"}),
        (
            {"student": {"layers": 1, "width": 16, "ffn_width": 32, "heads": 4}},
            {"general", "intermediate", "prediction", "export", "bench"},
        ),
        ({"gate": {"require": ["fp32"]}}, set()),
    ],
)
def test_a_change_repeats_the_stages_that_depend_on_it_and_no_others(make, changes, redone):
    before, after = fingerprints(make()), fingerprints(make(**changes))
    assert {name for name in after if after[name] != before[name]} == redone


def test_the_general_student_does_not_depend_on_the_task_of_another_corpus(make, tmp_path):
    (tmp_path / "corpus.txt").write_text("a film\n")
    distill = {"general": {"corpus": str(tmp_path / "corpus.txt"), "max_length": 32}}
    first, second = (
        make(distill=distill),
        make(distill=distill, name="other", task={**make().task.model_dump(), "max_rows": 50}),
    )
    assert fingerprints(first)["general"] == fingerprints(second)["general"]
    (alone,) = general_plan(first, prepare(first, QUIET))
    assert alone.fingerprint == fingerprints(first)["general"]


def test_a_general_student_needs_a_corpus_and_a_base(make, teacher_folder):
    recipe = make(distill={})
    with pytest.raises(UserError, match=r"distill\.general is missing"):
        general_plan(recipe, prepare(recipe, QUIET))
    recipe = make(teacher={"model": str(teacher_folder)})
    with pytest.raises(UserError, match=r"teacher\.base is missing"):
        general_plan(recipe, prepare(recipe, QUIET))


@pytest.mark.parametrize("shared", [False, True])
def test_the_state_of_a_stage(tmp_path, shared):
    stage, folder = stage_plan("first", {"a": 1}, shared=shared), tmp_path / "run"

    def build(work) -> dict:
        assert state_of(stage, folder) == "begun"
        (work.output / "file").write_text("x")
        return {}

    assert state_of(stage, folder) == "to do"
    with Run(folder, versions={}, announce=lambda line: None) as run:
        run.stage(stage, build)
    assert state_of(stage, folder) == "done"
    assert state_of(stage, tmp_path / "another") == ("in the cache" if shared else "to do")
    assert state_of(stage_plan("first", {"a": 2}, shared=shared), folder) == "to do"
    (folder / "first" / "file").write_text("edited")
    assert state_of(stage, folder) == "to do"


# its options count by their values
SETTINGS_OF_THE_BENCHMARK = {"bench/timing/effort.py", "bench/timing/duration.py", "bench/timing/limits.py"}


def test_the_code_of_the_benchmark_covers_all_imports_of_measuring():
    """Follows every import of bench, from the stage and from the modules that run in their own processes."""
    workers = ["bench/timing/worker.py", "bench/analysis/operator_profile.py", "bench/analysis/roofline.py"]
    waiting, reached = ["pocketbert/stages/bench.py", *workers], set(workers)
    while waiting:
        for node in ast.walk(ast.parse((ROOT / waiting.pop()).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bench":
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                files = {f"{module.replace('.', '/')}.py" for module in modules}
                new = {name for name in files if (ROOT / name).is_file()} - reached
                reached |= new
                waiting += new
    covered = {
        path.relative_to(ROOT).as_posix()
        for name in MEASURING
        for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
        if path.name != "__init__.py"
    }
    assert reached == covered - SETTINGS_OF_THE_BENCHMARK and len(reached) > 20


READ_BY_LOADING = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "model.safetensors",
    "model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "adapter_config.json",
    "adapter_model.safetensors", "modeling_custom.py", "tokenization_custom.py", "preprocessor_config.json",
)  # fmt: skip
NEVER_READ = (
    "README.md", ".gitattributes", "LICENSE", "training_args.bin", "trainer_state.json", "optimizer.pt", "tf_model.h5",
    "model.onnx", "events.out.tfevents.1", "checkpoint-10/model.safetensors",
)  # fmt: skip


@pytest.fixture
def base(base_folder, tmp_path) -> Path:
    """A copy of the base checkpoint, to be edited."""
    return Path(shutil.copytree(base_folder, tmp_path / "base"))


@pytest.mark.parametrize("name", READ_BY_LOADING)
def test_every_file_that_loading_reads_identifies_a_model(base, name):
    before, tokenizer_before = (of(str(base)) for of in (sources.identity, sources.tokenizer_identity))
    with (base / name).open("ab") as file:
        file.write(b"more")
    assert sources.identity(str(base)) != before
    is_weight = name.endswith((".safetensors", ".bin", ".index.json"))
    assert (sources.tokenizer_identity(str(base)) != tokenizer_before) is not is_weight


def test_a_file_that_loading_never_reads_does_not_identify_a_model(base):
    before = sources.identity(str(base))
    (base / "checkpoint-10").mkdir()
    for name in NEVER_READ:
        (base / name).write_bytes(b"another")
    assert sources.identity(str(base)) == before


def test_changed_tokenizer_options_of_the_teacher_repeat_every_stage(make, base):
    recipe = make(teacher={"base": str(base)})
    before = fingerprints(recipe)
    options = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps({**options, "do_lower_case": False}))
    after = fingerprints(recipe)
    assert {name for name in after if after[name] != before[name]} == set(after) - {"baseline"}


def test_changed_code_repeats_its_stages_and_a_changed_comment_repeats_none(make, tmp_path, monkeypatch):
    """Among others the weight decay of the trainer: an early version did not repeat any stage for it."""
    for package in ("compress", "export", "bench", "pocketbert"):
        shutil.copytree(ROOT / package, tmp_path / "code" / package)
    monkeypatch.setattr(plan, "ROOT", tmp_path / "code")
    recipe = make()
    before = fingerprints(recipe)

    def edited(name: str, old: str, new: str) -> set[str]:
        path = tmp_path / "code" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        code_digest.cache_clear()
        after = fingerprints(recipe)
        path.write_text(text, encoding="utf-8")
        code_digest.cache_clear()
        return {stage for stage in after if after[stage] != before[stage]}

    everything = set(before)
    assert edited("compress/distillation/training_loop.py", "weight_decay=0.01", "weight_decay=0.02") == everything
    assert (
        edited("compress/distillation/training_loop.py", "weight_decay=0.01,", "weight_decay=0.01,  # as the paper's")
        == set()
    )
    assert edited("compress/distillation/training_loop.py", '"""Running one', '"""Runs one') == set()
    assert edited("export/quantisation/quantize.py", "\nimport", "\nEXTRA = 1\nimport") == {"export", "bench"}
    assert edited("bench/measurement/stats.py", "MARGIN = 0.02", "MARGIN = 0.03") == {"bench"}
    later = {"prediction", "export", "bench"}
    assert edited("pocketbert/stages/prediction.py", "DRIFT_TEXTS = 2000", "DRIFT_TEXTS = 1000") == later
    assert edited("bench/report/render.py", "import", "import os, ") == set()


def test_the_digest_covers_code_only():
    source = """'''Module.'''

import os  # for its path


def f(x): 'one line'
class A:
    \'\'\'Two
    lines.\'\'\'
    hash = "# no comment"
"""
    assert without_comments(source) == 'import os\ndef f(x):\nclass A:\n    hash = "# no comment"'


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("def f(): 'doc'; return 1\n", "def f(): ; return 1"),
        ('TEXT = """\none  \n\ntwo\n"""\n\nx = 1  \n', 'TEXT = """\none  \n\ntwo\n"""\nx = 1'),
        ('TEXT = f"""\n{x}\n\n"""\n', 'TEXT = f"""\n{x}\n\n"""'),
        ("def f():\n    '''A\x0cB\u2028C.'''\n    return 'é'  # é\n", "def f():\n    return 'é'"),
    ],
)
def test_the_digest_covers_whole_strings_and_whole_lines(source, code):
    """Blank lines in a string, code after a docstring, and characters that do not end a line in Python."""
    assert without_comments(source) == code


# imports of stages that change no result: options, which count by their values, paths of files, and messages
SHAPES_NO_RESULT = {
    "pocketbert/recipe/sections.py", "pocketbert/recipe/training.py", "pocketbert/recipe/augmentation.py",
    "pocketbert/recipe/task.py", "pocketbert/recipe/models.py", "pocketbert/recipe/delivery.py",
    "pocketbert/recipe/choices.py",
    "pocketbert/store/manifest.py", "pocketbert/store/run_folder.py", "pocketbert/store/stage_cache.py",
    "pocketbert/store/workspace.py", "pocketbert/stage_parts/context.py", "pocketbert/data/table_labels.py",
}  # fmt: skip


def test_the_code_of_a_stage_covers_all_imports_of_its_file():
    num_imports = 0
    for stage in get_args(StageName):
        files = {*plan.SHARED_CODE, *plan.MORE_CODE.get(stage, ()), f"pocketbert/stages/{stage}.py"}
        for source in [name for name in files if name.startswith(("pocketbert/stages/", "pocketbert/stage_parts/"))]:
            for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pocketbert."):
                    imported = f"{node.module.replace('.', '/')}.py"
                    assert imported in files | SHAPES_NO_RESULT, f"{stage}: {source} imports {imported}"
                    num_imports += 1
    assert num_imports > 20


def test_every_stage_has_a_version_and_a_file_of_its_own(make):
    assert set(STAGE_VERSIONS) == set(get_args(StageName))
    for name in STAGE_VERSIONS:
        assert (ROOT / "pocketbert" / "stages" / f"{name}.py").is_file()


@pytest.mark.parametrize(
    ("package", "redone"),
    [
        ("torch", {"teacher", "general", "intermediate", "prediction", "export", "bench"}),
        ("transformers", {"teacher", "general", "intermediate", "prediction", "export", "bench"}),
        ("onnxruntime", {"export", "bench"}),
        ("jinja2", set()),
    ],
)
def test_another_version_of_a_library_repeats_its_stages(make, monkeypatch, package, redone):
    before, version = fingerprints(make()), plan._version
    monkeypatch.setattr(plan, "_version", lambda name: "99.0" if name == package else version(name))
    after = fingerprints(make())
    assert {name for name in after if after[name] != before[name]} == redone


def test_another_version_of_a_stage_repeats_it_and_all_after_it(make, monkeypatch):
    before = fingerprints(make())
    monkeypatch.setitem(STAGE_VERSIONS, "intermediate", 99)
    after = fingerprints(make())
    expected = {"intermediate", "prediction", "export", "bench"}
    assert {name for name in after if after[name] != before[name]} == expected


def test_another_number_of_threads_repeats_training_but_not_a_given_teacher(make, teacher_folder, monkeypatch):
    recipe = make(teacher={"model": str(teacher_folder)})
    before = fingerprints(recipe)
    monkeypatch.setattr(plan.machine, "torch_threads", lambda: 99)
    after = fingerprints(recipe)
    assert {name for name in after if after[name] != before[name]} == set(after) - {"teacher"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"ONE_CORE": "1"},
        {"ONE_CORE": "1", "OMP_NUM_THREADS": "2"},
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "64"},
        {"OMP_NUM_THREADS": "0"},
        {"OMP_NUM_THREADS": "2,1"},
        {"MKL_NUM_THREADS": "1"},
        {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"},
        {"MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"},
        {"MKL_DYNAMIC": "FALSE", "OMP_NUM_THREADS": "8"},
        {"MKL_DYNAMIC": "0", "OMP_NUM_THREADS": "8"},
    ],
)
def test_the_number_of_threads_is_that_of_torch(variables):
    if "ONE_CORE" in variables and not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind a process to a core")
    code = "import os\nif 'ONE_CORE' in os.environ: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from bench.measurement.machine import torch_threads as ours\nguess = ours()\nimport torch\n"
    code += "print(guess, torch.get_num_threads())"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "MKL_"))}
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True
    ).stdout
    ours, theirs = output.split()
    assert ours in (theirs, "None")  # None: it computes on CUDA


def test_with_visible_cuda_devices_threads_do_not_count(monkeypatch):
    machine = plan.machine
    monkeypatch.setattr(machine, "_has_cuda_device", lambda: True)
    for build, visible, expected in (
        ("2.13.0", None, True),
        ("2.13.0", "0", True),
        ("2.13.0", "", False),
        ("2.13.0", "-1", False),
        ("2.13.0+cpu", None, False),
    ):
        monkeypatch.setattr(machine, "package_versions", lambda build=build: {"torch": build})
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert (machine.torch_threads() is None) is (machine.auto_precision() is None) is expected


def test_auto_precision_is_that_of_training():
    assert plan.machine.auto_precision() in (
        resolve_precision("auto"),
        None,
    )  # None: CUDA, or the system does not report it


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2 avx512f", "fp32"),
        ("avx2 avx512_bf16", "bf16"),
        ("amx_bf16 amx_tile", "bf16"),
        ("asimd bf16", "fp32"),
        (None, None),
    ],
)
def test_the_flags_of_a_cpu_decide_auto_precision(monkeypatch, flags, expected):
    monkeypatch.setattr(plan.machine, "_torch_uses_cuda", lambda: False)
    monkeypatch.setattr(plan.machine, "_cpu_info", lambda field: flags if field == "flags" else None)
    assert plan.machine.auto_precision() == expected


def test_another_auto_precision_repeats_training_and_an_explicit_one_does_not(make, monkeypatch):
    def redone(**compute: object) -> set[str]:
        recipe = make(compute=compute)
        by_precision = []
        for precision in ("fp32", "bf16"):
            monkeypatch.setattr(plan.machine, "auto_precision", lambda precision=precision: precision)
            by_precision.append(fingerprints(recipe))
        fp32, bf16 = by_precision
        return {name for name in fp32 if fp32[name] != bf16[name]}

    assert redone() == {"teacher", "general", "intermediate", "prediction", "export", "bench"}
    assert redone(precision="fp32") == set()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"options": {"epochs": 3}}, {"options": {"epochs": 4}}, "options.epochs changed from 3 to 4"),
        (
            {"libraries": {"torch": "2.12.0"}},
            {"libraries": {"torch": "2.13.0"}},
            'libraries.torch changed from "2.12.0" to "2.13.0"',
        ),
        ({"libraries": {"a": "1"}}, {"libraries": {}}, 'libraries.a changed from "1" to null'),
        ({"code": {"compress": "ab"}}, {"code": {"compress": "cd"}}, "the code of compress changed"),
        ({"threads": 16}, {"threads": 2}, "threads changed from 16 to 2; to keep it, set OMP_NUM_THREADS=16"),
        ({"threads": 16}, {"threads": None}, "threads changed from 16 to null"),
        ({"after": {"teacher": "ab"}}, {"after": {"teacher": "cd"}}, "the result of teacher changed"),
    ],
)
def test_a_stage_that_runs_again_reports_the_reason(before, after, expected):
    line = first_difference(before, after)
    assert line.startswith(expected)
    assert ("OMP_NUM_THREADS" in line) is ("OMP_NUM_THREADS" in expected)
