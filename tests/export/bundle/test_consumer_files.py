"""The files of a bundle that other programs read."""

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from ruamel.yaml import YAML
from transformers import AutoConfig, AutoTokenizer

from export.bundle import consumer_files
from export.bundle.bundle_json import read_bundle_info
from export.bundle.listed_files import SUMS_FILE
from export.bundle.verification import verify_bundle
from tiny_bundles import build_fp32_bundle

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, teacher_folder, reviews) -> Path:
    """A bundle whose teacher has settings of its last caller in tokenizer_config.json."""
    folder = tmp_path_factory.mktemp("single")
    teacher = folder / "teacher"
    teacher.mkdir()
    for path in teacher_folder.iterdir():
        (teacher / path.name).write_bytes(path.read_bytes())
    path = teacher / "tokenizer_config.json"
    stale = {"max_length": 16, "stride": 0, "truncation_strategy": "longest_first"}
    path.write_text(json.dumps({**read(path), **stale}))
    return build_fp32_bundle(folder / "bundles", teacher, reviews, ["text"])


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_file_is_covered_by_the_checksums(bundle):
    names = {line.split("  ", 1)[1] for line in (bundle / SUMS_FILE).read_text().splitlines()}
    assert names >= {
        "config.json",
        "encoderfile.yml",
        "required_operators_and_types.config",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
    }
    assert verify_bundle(bundle).largest_difference < 1e-5


def test_a_classifier_says_so_and_browsers_get_the_model_that_there_is(bundle):
    config = read(bundle / "config.json")
    assert config["transformers.js_config"] == {"dtype": "fp32"}
    assert config["problem_type"] == "single_label_classification"
    assert "sentence_transformers" not in config
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert AutoConfig.from_pretrained(bundle).id2label == {0: "negative", 1: "positive"}


def test_a_regression_has_no_activation():
    config = {"sentence_transformers": {"version": "5.0.0", "activation_fn": "torch.nn.modules.activation.Sigmoid"}}
    written = consumer_files._config(config, SimpleNamespace(task_type="regression"))
    assert written["problem_type"] == "regression"
    assert written["sentence_transformers"] == {
        "version": "5.0.0",
        "activation_fn": "torch.nn.modules.linear.Identity",
    }


def test_no_setting_of_the_last_caller_is_kept_and_the_limit_is_everywhere(bundle):
    config = read(bundle / "tokenizer_config.json")
    assert not {*consumer_files.STALE_SETTINGS} & {*config}
    assert config["model_max_length"] == 32
    assert read(bundle / "sentence_bert_config.json") == {"max_seq_length": 32, "do_lower_case": False}


def test_the_tokenizer_class_is_known_to_every_transformers_and_gives_token_types(bundle, tokenizer):
    config = read(bundle / "tokenizer_config.json")
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    graph = onnx.load(bundle / "onnx" / "model.onnx").graph
    assert config["model_input_names"] == [each.name for each in graph.input]
    assert "token_type_ids" in config["model_input_names"]
    loaded = AutoTokenizer.from_pretrained(bundle)
    expected = tokenizer("a warm film", "dull plot")
    assert {name: list(ids) for name, ids in loaded("a warm film", "dull plot").items()} == dict(expected)
    assert len(loaded("film " * 60, truncation=True)["input_ids"]) == 32


@pytest.mark.parametrize("name", ["BertTokenizer", "RobertaTokenizerFast"])
def test_a_class_that_transformers_js_knows_is_kept(name):
    """transformers.js returns token types for BertTokenizer, and not for PreTrainedTokenizerFast."""
    assert consumer_files._tokenizer_config({"tokenizer_class": name}, [])["tokenizer_class"] == name


def test_special_tokens_are_those_of_the_tokenizer_and_how_they_match(tmp_path, bundle, tokenizer):
    tokens = read(bundle / "special_tokens_map.json")
    assert {role: token["content"] for role, token in tokens.items()} == tokenizer.special_tokens_map
    names = {"content", "lstrip", "normalized", "rstrip", "single_word"}
    assert len(tokens) == 5 and all(set(token) == names for token in tokens.values())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((bundle / name).read_bytes())
    content = read(tmp_path / "tokenizer.json")
    (mask,) = [token for token in content["added_tokens"] if token["content"] == "[MASK]"]
    mask["lstrip"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"mask_token": {"content": "[MASK]"}, "cls_token": "x"}))
    assert {role: token["lstrip"] for role, token in consumer_files._special_tokens(tmp_path).items()} == {
        "mask_token": True
    }


def test_encoderfile_gets_the_paths_of_the_bundle(bundle):
    settings = YAML(typ="safe", pure=True).load(bundle / "encoderfile.yml")["encoderfile"]
    assert settings["model_type"] == "sequence_classification" and settings["name"] == "tiny"
    assert len(settings["path"]) == 4
    assert all((bundle / path).is_file() for path in settings["path"].values())
    assert "softmax(2)" in settings["transform"]


@pytest.mark.parametrize(
    ("name", "expected"), [("My model: v1", "My-model-v1"), ("日本", "model"), ("../x", "x"), ("a#b", "a-b")]
)
def test_encoderfile_gets_a_name_that_is_a_file_name(name, expected):
    text = consumer_files._encoderfile(SimpleNamespace(name=name, task_type="regression"))
    settings = YAML(typ="safe", pure=True).load(text)["encoderfile"]
    assert settings["name"] == expected and settings["output_path"] == f"../{expected}.encoderfile"
    assert "transform" not in settings


def test_a_bundle_for_pairs_has_no_settings_for_encoderfile_which_takes_single_texts(tmp_path, bundle):
    pairs = shutil.copytree(bundle, tmp_path / "pairs")
    (pairs / "encoderfile.yml").unlink()
    info = read_bundle_info(pairs)
    consumer_files.write_consumer_files(pairs, replace(info, takes_pairs=True))
    assert not (pairs / "encoderfile.yml").exists()
    consumer_files.write_consumer_files(pairs, info)
    assert (pairs / "encoderfile.yml").exists()


def test_the_card_names_the_programs_and_where_a_pipeline_is_wrong(bundle):
    card = (bundle / "README.md").read_text(encoding="utf-8")
    info = read_bundle_info(bundle)
    assert consumer_files.other_programs(info) in card and "pipeline('text-classification', 'bundle')" in card
    pairs = consumer_files.other_programs(replace(info, takes_pairs=True))
    assert "wrong outputs" in pairs and "text_pair" in pairs and "CrossEncoder" in pairs and "encoderfile" not in pairs
    values = consumer_files.other_programs(replace(info, task_type="regression", labels=["score"]))
    assert "raw_scores" in values and "wrong outputs" in values and "text_pair" not in values
    dependent = consumer_files.other_programs(replace(info, batch_invariant=False))
    assert "in batches" in dependent and "in batches" not in consumer_files.other_programs(info)


def test_the_operators_are_those_of_the_graph_and_of_its_optimised_forms(tmp_path):
    """An Add after a MatMul becomes a Gemm or a FusedMatMul in some runtimes, and stays an Add in others."""
    weights = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        onnx.helper.make_node("MatMul", ["t", "w"], ["m"]),
        onnx.helper.make_node("Identity", ["m"], ["y"]),
    ]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 4]) for name in "xy")
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    text = consumer_files.required_operators(tmp_path / "model.onnx")
    assert {"Transpose", "MatMul", "Identity"} <= operators(text)
    assert "FusedMatMul" in operators(text)
    assert str(tmp_path) not in text and text.startswith("# onnxruntime ")


def operators(text: str) -> set[str]:
    """The names in a file of required operators, without their types."""
    names = set()
    for line in text.splitlines():
        if not line.startswith("#"):
            domain, opset, rest = line.split(";")
            assert domain and int(opset) > 0
            depth, name = 0, ""
            for character in rest + ",":
                if character == "," and depth == 0:
                    names.add(name.partition("{")[0])
                    name = ""
                    continue
                depth += (character in "{[") - (character in "}]")
                name += character
    return names


def test_the_tool_of_onnxruntime_prints_nothing_and_leaves_logging_alone(bundle):
    code = (
        "import logging, sys; from pathlib import Path; from export.bundle import consumer_files; "
        "consumer_files._import_tool(); print(logging.getLogger().handlers, logging.getLogger().level); "
        "logging.basicConfig(level=logging.INFO); consumer_files.required_operators(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, bundle / "onnx" / "model.onnx"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert (finished.stdout, finished.stderr) == (f"[] {logging.WARNING}\n", "")
