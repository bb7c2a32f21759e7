"""Values that would fill the memory or take years are refused, with the limit in the message."""

import os

import pytest

from compress.common.errors import UserError
from pocketbert.recipe.loading import MOST_MISTAKES, built_in, load_recipe
from pocketbert.recipe.schema import recipe_schema

HUGE = {
    "teacher.fine_tune.epochs": "10000 or less",
    "teacher.fine_tune.batch_size": "65536 or less",
    "teacher.fine_tune.micro_batch_size": "65536 or less",
    "teacher.fine_tune.max_steps": "1000000000 or less",
    "teacher.fine_tune.checkpoint_steps": "1000000000 or less",
    "teacher.fine_tune.patience": "10000 or less",
    "distill.intermediate.hidden": "a number from 0 to 1,000,000",
    "distill.intermediate.embedding": "1000000.0 or less",
    "distill.intermediate.relation_heads": "1024 or less",
    "task.max_length": "65536 or less",
    "task.max_rows": "10000000000 or less",
    "export.calibration_rows": "1000000 or less",
    "bench.threads": "1024 or less",
    "bench.rounds": "10000 or less",
    "bench.processes": "64 or less",
    "bench.warm_up_s": "3600.0 or less",
    "bench.fixed_lengths": "a list",
}


@pytest.mark.parametrize(("key", "limit"), HUGE.items())
def test_huge_and_negative_numbers_are_refused(key, limit):
    for value in (10**12, -1):
        with pytest.raises(UserError) as refused:
            load_recipe("quickstart", changes=[f"{key}={value}"])
        assert f"got {value}" in str(refused.value) and "\n" not in str(refused.value)
        if value > 0:
            assert f"expected {limit}" in str(refused.value)


def test_every_whole_number_of_a_recipe_has_a_limit():
    """`seed` has an exclusive one."""
    unlimited, num_limited = [], 0

    def visit(node, path):
        nonlocal num_limited
        if isinstance(node, dict):
            if node.get("type") in ("integer", "number"):
                has_limit = "maximum" in node or "exclusiveMaximum" in node
                num_limited += has_limit
                if not has_limit:
                    unlimited.append(path)
            for key, value in node.items():
                visit(value, f"{path}.{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                visit(value, f"{path}.{index}")

    visit(recipe_schema(), "")
    distill_map = [path for path in unlimited if "layer_map" in path]  # compared with the teacher's layers
    assert unlimited == distill_map and num_limited > 60


@pytest.mark.parametrize(
    "shape",
    [
        "{layers: 1000000, width: 312, ffn_width: 1200, heads: 12}",
        "{layers: 200, width: 16384, ffn_width: 65536, heads: 16}",
    ],
)
def test_a_student_of_absurd_size_is_refused(shape):
    with pytest.raises(UserError, match=r"256 or less|expected at most 1,000,000,000"):
        load_recipe("quickstart", changes=[f"student={shape}"])


def test_long_texts_of_all_types_give_short_messages(tmp_path):
    path = tmp_path / "r.yaml"
    base = built_in()["quickstart"].read_text()
    for more in (
        f"x: {'y' * 100_000}\n",
        f"? {'k' * 100_000}\n: 1\n",
        f"task: {{labels: [{', '.join(['a'] * 3000)}]}}\n",
        f"distill: {{layer_map: [{', '.join(['0'] * 3000)}]}}\n",
        "".join(f"k{number}: 1\n" for number in range(2000)),
    ):
        path.write_text(base + more)
        with pytest.raises(UserError) as refused:
            load_recipe(str(path))
        lines = str(refused.value).splitlines()
        assert len(lines) <= MOST_MISTAKES + 1 and max(map(len, lines)) < 800
    assert "more mistakes" in lines[-1]
    with pytest.raises(UserError, match="got a key of 10,000 parts, expected at most 20"):
        load_recipe("quickstart", changes=[".".join(["a"] * 10_000) + "=1"])


def test_what_is_no_recipe_file_is_refused_and_blocks_nothing(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(10**9)
    for path, expected in {
        tmp_path / "pipe.yaml": "got a pipe, expected a file",
        tmp_path / "large.yaml": "got 1,000 MB, expected at most 0.25 MB",
        tmp_path: "got a folder, expected a file",
        "/dev/zero": "got a device, expected a file",
        "x" * 5000: "neither a recipe file nor the name of a built-in recipe",
        "a\0b": "neither a recipe file nor the name of a built-in recipe",
    }.items():
        with pytest.raises(UserError, match=expected):
            load_recipe(str(path))
