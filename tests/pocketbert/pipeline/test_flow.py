import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bench.results.document import read_results
from compress.common.files import sha256
from compress.results import PredictionResult
from export.bundle.verification import verify_bundle
from export.parity.predictors import TorchPredictor
from pocketbert.cli import app
from pocketbert.store.manifest import read_manifest
from sandbox import Finished, run_in_process
from tiny_bert import LABELS, rows, write_csv, write_mpnet
from tiny_runs import ANY, STAGES, VARIANTS, kill_at, recipe, weights

KILLS = (  # every stage and every moment; training resumes in the same way in all stages
    ("teacher", "first epoch"),
    ("teacher", "later epoch"),
    ("general", "later epoch"),
    ("masked_lm", "before any checkpoint"),
    ("masked_lm", "first epoch"),
    ("augment", "between shards"),
    ("intermediate", "later epoch"),
    ("prediction", "before any checkpoint"),
    ("prediction", "later epoch"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, base_folder, reviews):
    """A finished run: (its folder, its environment, its recipe, its process)."""
    tmp_path = tmp_path_factory.mktemp("finished")
    path = recipe(tmp_path, base_folder, reviews)
    environment = {**os.environ, "POCKETBERT_CACHE": str(tmp_path / "cache")}
    done = run(path, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    return tmp_path / "runs" / "tiny", environment, path, done


def run(path: Path, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pocketbert", "run", str(path)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def run_here(path: Path, environment: dict[str, str], *options: object) -> Finished:
    """Run the recipe in this process, in its folder."""
    return run_in_process("run", path, *options, folder=path.parent, environment=environment)


def settings(*changes: str) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


def test_a_run_leaves_bundles_a_report_and_the_table(finished):
    folder, _, _, printed = finished
    for name in ("recipe.yaml", "manifest.json", "results.json", "report.html", "report.md"):
        assert (folder / name).is_file()
    for variant in VARIANTS:
        assert (folder / "bundles" / variant / "onnx" / "model.onnx").is_file()
    for name in ("teacher, torch fp32", "student, torch fp32", "student int8-dynamic, onnxruntime", "TF-IDF"):
        assert name in printed.stdout
    assert "report" in printed.stdout and not (folder / ".partial" / "prediction").exists()
    results = read_results(folder)
    assert results.run.selected_on_test
    card = (folder / "bundles" / "fp32" / "README.md").read_text()
    assert "share of the teacher's dev accuracy" in card and "test accuracy" not in card
    assert any("dev also serves as test" in line for line in results.run.remarks)
    assert list(results.stage_seconds) == ["baseline", *STAGES[:3], "augment", *STAGES[3:], "export", "bench"]
    assert all(stage is not None for stage in vars(results.stages).values())


def test_the_student_learns_the_rule(finished):
    stages = read_results(finished[0]).stages
    assert stages.teacher.scores.test > 0.9
    assert stages.prediction.scores.test > 0.8


def test_the_prediction_stage_searches_its_grid_and_keeps_the_best_on_dev(finished, tmp_path, base_folder, reviews):
    """The teacher and the language model are in the cache."""
    path = recipe(tmp_path, base_folder, reviews)
    changes = [
        "distill.general=null",
        "distill.layer_map=[1, 4]",
        "distill.projection=per_layer",
        "distill.intermediate.attention=[0, 1]",
        "distill.intermediate.relations=0.5",
        "distill.intermediate.micro_batch_size=5",
        "distill.prediction.search={learning_rate: [1e-9, 3e-3], batch_size: [8, 16]}",
        "distill.prediction.epochs=2",
    ]
    done = run_here(path, finished[1], "--until", "prediction", *settings(*changes))
    assert done.returncode == 0, done.stderr
    stage = read_manifest(tmp_path / "runs" / "tiny")["prediction"].result_as(PredictionResult)
    points = {(point.learning_rate, point.batch_size): point.dev_score for point in stage.search}
    assert set(points) == {(1e-9, 8), (1e-9, 16), (3e-3, 8), (3e-3, 16)}
    assert stage.scores.dev == max(points.values()) == max(stage.training.dev_scores)
    assert min(points.values()) == points[1e-9, 8] == stage.scores_before.dev


def test_a_prediction_stage_that_only_harms_leaves_the_student_unchanged(finished, tmp_path, base_folder, reviews):
    """The student is the teacher itself, and learns at an absurd rate."""
    whole = {"layers": 4, "width": 32, "ffn_width": 64, "heads": 4, "initialisation": "teacher_layers"}
    path = recipe(tmp_path, base_folder, reviews, student=whole, export={"variants": ["fp32"]})
    changes = ["distill.general=null", "distill.intermediate.max_steps=1", "distill.intermediate.learning_rate=1e-9"]
    changes += ["distill.prediction.learning_rate=0.9", "distill.prediction.max_steps=5"]
    done = run_here(path, finished[1], *settings(*changes))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny"
    stage = read_results(folder).stages.prediction
    assert max(stage.training.dev_scores) < stage.scores_before.dev
    assert stage.training.best_epoch == 0 and stage.scores == stage.scores_before
    assert "(no epoch beat the initial weights, which were kept)" in (folder / "report.md").read_text(encoding="utf-8")


def test_labels_teach_what_the_teacher_does_not_know(tmp_path, teacher_folder, reviews):
    """The teacher has random weights. Without intermediate steps, the student starts with random ones too."""
    random = {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4, "initialisation": "random"}
    path = recipe(tmp_path, teacher_folder, reviews, student=random, export={"variants": ["fp32"]})
    environment = {"POCKETBERT_CACHE": str(tmp_path / "cache")}
    changes = [
        "teacher={model: " + str(teacher_folder) + "}",
        "distill.general=null",
        "distill.intermediate.epochs=0",
        "gate.teacher_over_baseline=false",
    ]
    scores = {}
    for weight in (0, 1):
        more = ["--until", "prediction"] if weight == 0 else []
        done = run_here(path, environment, *settings(*changes, f"distill.prediction.label_weight={weight}"), *more)
        assert done.returncode == 0, done.stderr
        records = read_manifest(tmp_path / "runs" / "tiny")
        assert records["intermediate"].result["training"]["num_steps"] == 0
        scores[weight] = records["prediction"].result_as(PredictionResult).scores.dev
    assert scores[1] > 0.85 > scores[0] + 0.15, "augmented texts have the labels of their originals"
    assert "report" in done.stdout and (tmp_path / "runs" / "tiny" / "report.html").is_file()


def test_a_roberta_student_with_relu_and_a_cut_vocabulary_learns_with_rounding_and_ships(
    tmp_path, base_folder, reviews
):
    path = recipe(tmp_path, base_folder, reviews, export={"variants": ["fp32", "int4-static"]})
    changes = settings(
        "student.architecture=roberta",
        "student.activation=relu",
        "student.vocabulary={size: 24}",
        "distill.prediction.quantisation=int4-static",
    )
    done = run_here(path, {"POCKETBERT_CACHE": str(tmp_path / "cache")}, "--smoke", *changes)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny-smoke"
    stages = read_results(folder).stages
    vocabulary = stages.prediction.vocabulary
    assert (vocabulary.num_tokens, vocabulary.num_tokens_before) == (24, 27)
    assert len(Tokenizer.from_file(str(folder / "bundles" / "fp32" / "tokenizer.json")).get_vocab()) == 24
    fused = stages.export.fused_nodes
    assert fused == {"LayerNormalization": 1, "Attention": 2, "Relu": 2, "SkipLayerNormalization": 4}
    assert_labels_are_those_of_the_student(folder, "fp32")


def test_a_student_of_an_mpnet_ships(tmp_path, reviews):
    """The teacher has MPNet's special tokens, a bias of relative positions, and positions that begin at 2."""
    base = write_mpnet(tmp_path / "mpnet")
    variants = ["fp32", "int8-static", "int4-static"]
    path = recipe(tmp_path, base, reviews, export={"variants": variants, "tolerance": dict.fromkeys(variants[1:], ANY)})
    changes = settings(
        "distill.general=null",
        "augment=null",
        "task.max_length=64",
        "student.vocabulary={size: 26}",
        "gate.teacher_over_baseline=false",
    )
    done = run_here(path, {"POCKETBERT_CACHE": str(tmp_path / "cache")}, *changes)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny"
    stages = read_results(folder).stages
    assert stages.teacher.scores.test > 0.9 and stages.prediction.scores.test > 0.8
    assert stages.export.passed == variants
    for variant in variants:
        assert not verify_bundle(folder / "bundles" / variant).failures
    assert_labels_are_those_of_the_student(folder, "fp32", "warm " * 80, "", "dull unseen\u2019words " * 40)


def assert_labels_are_those_of_the_student(run_folder: Path, variant: str, *texts: str) -> None:
    """The bundle's predict.py gives the labels of the student in torch, for 30 sentences and for `texts`."""
    texts = (*(text for text, _ in rows(30, seed=9)), *texts)
    bundle = run_folder / "bundles" / variant
    max_length = json.loads((bundle / "tokenizer_config.json").read_text())["model_max_length"]
    logits = TorchPredictor(run_folder / "prediction" / "model", max_length=max_length).logits(texts)
    predict = [sys.executable, "-I", str(bundle / "predict.py")]
    answers = subprocess.run(predict, input="\n".join(texts), capture_output=True, text=True, check=True).stdout
    assert [json.loads(line)["label"] for line in answers.splitlines()] == [LABELS[each] for each in logits.argmax(1)]


def test_a_second_run_does_nothing_and_reports_it(finished):
    folder, environment, path, _ = finished
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.onnx")}
    done = run_here(path, environment)
    assert done.returncode == 0 and "Nothing to do" in done.stderr
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.onnx")} == before
    assert "teacher, torch fp32" in done.stdout


def test_until_stops_after_a_stage(finished, tmp_path):
    """Stages in the cache are linked. Stages after it are not begun."""
    _, environment, path, _ = finished
    options = ("--output", tmp_path / "part", "--until")
    done = run_here(path, environment, *options, "general")
    assert done.returncode == 0, done.stderr
    folders = {folder.name for folder in (tmp_path / "part").iterdir() if folder.is_dir()}
    assert {"teacher", "general"} <= folders and not {"intermediate", "augment", "export"} & folders
    assert not (tmp_path / "part" / "results.json").exists() and "report" not in done.stdout
    for name, message in (
        ("search", "this recipe has no such stage; its stages are baseline, teacher, general, masked_lm, augment"),
        ("distillation", "expected one of baseline, search, teacher, general, masked_lm, augment"),
    ):
        wrong = run_here(path, environment, *options, name)
        assert wrong.returncode == 2 and f"--until {name}: {message}" in wrong.stderr


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("log.txt", "recipe.yaml")
    }


@pytest.mark.parametrize(
    ("changes", "full", "expected"),
    [
        (["task.label=nothing"], False, "no column 'nothing'"),
        (["teacher.base=nowhere/at-all"], False, "nowhere/at-all: no model config could be read"),
        (["distill.prediction.epochs=5"], True, "No space left on device; finished work is kept"),
    ],
)
def test_a_finished_run_survives_mistakes_and_a_full_disk(finished, tmp_path, changes, full, expected):
    """A run folder that was moved is still finished."""
    folder, environment, path, _ = finished
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved, symlinks=True)
    if full:
        (moved / "log.txt").unlink()
        (moved / "log.txt").symlink_to("/dev/full")
    before = contents(moved)
    done = run_here(path, environment, "--output", moved, *settings(*changes))
    assert done.returncode == 2 and expected in done.stderr, done.stderr
    assert len(before) > 30 and contents(moved) == before
    if not full:
        again = run_here(path, environment, "--output", moved)
        assert again.returncode == 0 and "Nothing to do" in again.stderr


def test_the_bundle_predicts_what_the_torch_student_predicts(finished):
    folder = finished[0]
    texts = [text for text, _ in rows(100, seed=9)]
    student = TorchPredictor(folder / "prediction" / "model", max_length=32).logits(texts).argmax(axis=1)
    predict = [sys.executable, "-I", str(folder / "bundles" / "fp32" / "predict.py")]
    answers = subprocess.run(predict, input="\n".join(texts), capture_output=True, text=True, check=True).stdout
    assert [json.loads(line)["label"] for line in answers.splitlines()] == [LABELS[index] for index in student]


@pytest.mark.slow
def test_killed_in_every_stage_and_epoch_it_ends_with_the_same_weights(finished, tmp_path, base_folder, reviews):
    path = recipe(tmp_path, base_folder, reviews)
    environment = {**os.environ, "POCKETBERT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "pocketbert", "run", str(path)]
    num_kills = 0
    for stage, moment in KILLS:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            kill_at(moment, stage, process, tmp_path)
        finally:
            process.kill()
            process.communicate()
        num_kills += 1
    assert num_kills == len(KILLS) == 9
    done = run(path, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert "prediction: resumes at step" in done.stderr
    assert weights(tmp_path / "runs" / "tiny") == weights(finished[0])


def test_the_recommended_variant_is_one_that_passed_and_its_bundle_says_so(finished):
    folder = finished[0]
    exported = read_results(folder).stages.export
    chosen = exported.recommended
    latencies = {name: variant.latency_ms for name, variant in exported.variants.items()}
    assert latencies[chosen] <= 1.03 * min(latencies.values())
    for name in VARIANTS:
        manifest = json.loads((folder / "bundles" / name / "bundle.json").read_text())
        assert manifest["recommended"] == (name == chosen)
        assert manifest["measured"]["median ms from text to label, batch 1"] == round(latencies[name], 3)
        assert verify_bundle(folder / "bundles" / name).num_changed == 0
    assert f"{chosen}: recommended" in (folder / "report.html").read_text()


def test_each_bundle_has_the_digests_of_the_recipe_and_the_table(finished, reviews):
    folder = finished[0]
    for name in VARIANTS:
        digests = json.loads((folder / "bundles" / name / "bundle.json").read_text())["digests"]
        assert set(digests) == {"recipe", "rows", f"train: {reviews.name}"}
        assert digests["recipe"] == sha256(folder / "recipe.yaml")
        assert digests[f"train: {reviews.name}"] == sha256(reviews)


def test_the_parity_table_of_a_run_and_of_a_bundle_is_printed(finished, capsys):
    folder = finished[0]
    assert app.main(["explain", str(folder)]) == 0
    printed = capsys.readouterr().out
    for part in ("exported graph", "fused graph", "McNemar p", "in a mixed batch", "session: ", "fused: Attention 1"):
        assert part in printed, part
    assert app.main(["explain", str(folder / "bundles" / "int8-static"), "--json"]) == 0
    proof = json.loads(capsys.readouterr().out)
    run = json.loads((folder / "results.json").read_text())["stages"]["export"]
    assert proof["variants"]["int8-static"]["parity"] == run["variants"]["int8-static"]["parity"]


def test_a_required_variant_that_fails_ends_with_code_3_and_is_not_shipped(finished, base_folder, reviews):
    """The same run with limits that no int8 model meets: training and export are not repeated."""
    folder, environment, path, _ = finished
    size_mb = (folder / "export" / "int8-static" / "onnx" / "model.onnx").stat().st_size / 1e6
    changed = recipe(path.parent, base_folder, reviews, gate={"require": ["int8-static"], "size_mb": size_mb})
    done = run_here(changed, environment)
    assert done.returncode == 3, done.stderr
    assert "not shipped" in done.stderr and "MB, more than" in done.stderr
    assert "prediction: already done" in done.stderr and "export: already done" in done.stderr
    assert not list((folder / "bundles").iterdir())
    assert "Not shipped" in (folder / "report.html").read_text()
    impossible = {"variants": VARIANTS, "tolerance": {"int8-dynamic": {"logit_error": 0.0}, "int8-static": ANY}}
    done = run_here(recipe(path.parent, base_folder, reviews, export=impossible), environment)
    assert done.returncode == 0, done.stderr
    assert {bundle.name for bundle in (folder / "bundles").iterdir()} == {"fp32", "int8-static"}
    assert "int8-dynamic: failed: logit_error" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": {"data": "nothing.csv", "max_length": 32}},
            "error: task.data: nothing.csv is neither a file nor a folder",
        ),
        ({"student": {"preset": "tinybert9"}}, "student.preset"),
        ({"studnet": {}}, "studnet: unknown key"),
        ({"teacher": {}}, "name teacher.base"),
        ({"gate": {"require": ["int3"]}}, "gate.require.0"),
        ({"seed": "zero"}, "seed: "),
    ],
)
def test_bad_recipes_end_in_a_line_and_code_2(tmp_path, base_folder, reviews, in_process, changes, message):
    done = in_process("run", recipe(tmp_path, base_folder, reviews, **changes))
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_all_mistakes_of_a_recipe_are_reported_at_once(tmp_path, base_folder, reviews, in_process):
    done = in_process("run", recipe(tmp_path, base_folder, reviews, seed="zero", studnet={}, student={"layers": 0}))
    assert done.stderr.count("error: ") >= 3


def test_a_teacher_with_other_labels_stops_before_any_training(tmp_path, teacher_folder, base_folder, in_process):
    data = write_csv(
        tmp_path / "stars.csv", ("text", "label"), [(f"the film {i}", f"{i % 3} stars") for i in range(60)]
    )
    done = in_process("run", recipe(tmp_path, base_folder, data, teacher={"model": str(teacher_folder)}))
    assert done.returncode == 2 and "teacher and data disagree on the labels" in done.stderr


def test_verify_accepts_a_whole_bundle_and_rejects_another_folder(finished, in_process, tmp_path):
    bundle = finished[0] / "bundles" / "fp32"
    done = in_process("verify", bundle)
    assert done.returncode == 0 and "11 files unchanged; 16 golden examples" in done.stdout
    done = in_process("verify", tmp_path)
    assert done.returncode == 2 and "not a bundle, it has no bundle.json" in done.stderr
