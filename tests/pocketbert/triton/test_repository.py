"""The files of `pocketbert triton`: configurations, names, the image, the service, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from ruamel.yaml import YAML

from export.bundle.bundle_json import read_bundle_info, write_bundle_info
from export.bundle.runtime import Classifier
from pocketbert.triton import config_text, image
from tiny_bundles import build_fp32_bundle

FIELD = descriptor_pb2.FieldDescriptorProto
STRING, INT64, MESSAGE = FIELD.TYPE_STRING, FIELD.TYPE_INT64, FIELD.TYPE_MESSAGE
MESSAGES = {  # the part of Triton's ModelConfig that we write: name, type and whether repeated; names of enums as text
    "ModelConfig": [
        ("name", STRING, False), ("backend", STRING, False), ("max_batch_size", INT64, False),
        ("input", "Tensor", True), ("output", "Tensor", True), ("dynamic_batching", "Nothing", False),
        ("instance_group", "Group", True), ("parameters", "Entry", True),
    ],
    "Tensor": [("name", STRING, False), ("data_type", "Type", False), ("dims", INT64, True),
               ("label_filename", STRING, False)],
    "Nothing": [],
    "Group": [("count", INT64, False), ("kind", "Kind", False)],
    "Entry": [("key", STRING, False), ("value", "Value", False)],
    "Value": [("string_value", STRING, False)],
}  # fmt: skip
ENUMS = {"Type": ["TYPE_STRING", "TYPE_FP32", "TYPE_FP16", "TYPE_INT64"], "Kind": ["KIND_CPU", "KIND_GPU"]}


def model_config():
    """A message class with the fields above."""
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="t", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(["NONE_" + name, *values]):
            enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, repeated) in enumerate(fields, start=1):
            added = message.field.add(name=field, number=number)
            added.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type = FIELD.TYPE_ENUM if kind in ENUMS else MESSAGE
                added.type_name = f".t.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))


def read_config(path: Path):
    return text_format.Parse(path.read_text(encoding="utf-8"), model_config()())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, teacher_folder, reviews) -> Path:
    return build_fp32_bundle(tmp_path_factory.mktemp("bundles"), teacher_folder, reviews, ["text"])


@pytest.fixture
def triton(in_process):
    return lambda *arguments: in_process("triton", *arguments)


def renamed(bundle: Path, target: Path, **changes: object) -> Path:
    """A copy of a bundle with other values in its bundle.json."""
    from dataclasses import replace

    from compress.common.files import sha256

    shutil.copytree(bundle, target)
    before = sha256(target / "bundle.json")
    write_bundle_info(replace(read_bundle_info(target), **changes), target)
    sums = target / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, sha256(target / "bundle.json")))
    return target


def test_one_bundle_gives_a_model_an_image_and_a_service(triton, bundle, tmp_path):
    done = triton(bundle, "--output", tmp_path / "out", "--instances", 2, "--threads", 3)
    assert done.returncode == 0 and "docker build" in done.stdout, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".pocketbert.json", "Dockerfile", "inference-service.yaml", "models", "requirements.txt"
    ]  # fmt: skip
    (model,) = (tmp_path / "out" / "models").iterdir()
    assert sorted(path.name for path in model.iterdir()) == ["1", "config.pbtxt", "labels.txt"]
    assert model.name == "tiny-fp32"
    parsed = read_config(model / "config.pbtxt")
    assert (parsed.name, parsed.backend, parsed.max_batch_size) == ("tiny-fp32", "python", 64)
    assert [(each.name, list(each.dims)) for each in parsed.input] == [("TEXT", [1])]
    assert [(each.name, list(each.dims)) for each in parsed.output] == [
        ("LABEL", [1]), ("PROBABILITIES", [2]), ("LOGITS", [2])
    ]  # fmt: skip
    assert parsed.HasField("dynamic_batching") and parsed.instance_group[0].count == 2
    assert {each.key: each.value.string_value for each in parsed.parameters} == {"threads": "3"}
    assert (model / "labels.txt").read_text() == "negative\npositive\n"
    Classifier(model / "1" / "bundle")  # a complete, unchanged copy


def test_the_gpu_model_has_the_types_of_the_graph(triton, bundle, tmp_path):
    assert triton(bundle, "--gpu", "--output", tmp_path / "out").returncode == 0
    models = tmp_path / "out" / "models"
    assert sorted(path.name for path in models.iterdir()) == ["tiny-fp32", "tiny-fp32_model"]
    parsed = read_config(models / "tiny-fp32_model" / "config.pbtxt")
    kinds = ["", *ENUMS["Type"]]
    assert (parsed.backend, parsed.max_batch_size) == ("onnxruntime", 32)
    session = Classifier(bundle).session
    assert [(each.name, kinds[each.data_type], list(each.dims)) for each in parsed.input] == [
        (each.name, "TYPE_INT64", [-1]) for each in session.get_inputs()
    ]
    assert [(each.name, kinds[each.data_type], list(each.dims)) for each in parsed.output] == [
        ("logits", "TYPE_FP32", [2])
    ]
    copied = models / "tiny-fp32_model" / "1" / "model.onnx"
    assert copied.read_bytes() == (bundle / "onnx" / "model.onnx").read_bytes()
    called = read_config(models / "tiny-fp32" / "config.pbtxt")
    assert {each.key: each.value.string_value for each in called.parameters}["model"] == "tiny-fp32_model"
    service = YAML(typ="safe").load(tmp_path / "out" / "inference-service.yaml")
    assert service["spec"]["predictor"]["model"]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_half_precision_is_an_output_of_half_precision():
    written = config_text.onnx_config(
        "m", [("input_ids", "tensor(int64)", ["b", "s"])], [("logits", "tensor(float16)", ["b", 3])]
    )
    parsed = text_format.Parse(written, model_config()())
    assert ENUMS["Type"][parsed.output[0].data_type - 1] == "TYPE_FP16" and list(parsed.output[0].dims) == [3]


def test_the_service_names_the_store_and_the_image(triton, bundle, tmp_path):
    uri = "pvc://claim/a'b\"c:{d}#e"
    options = ["--name", "Reviews.v2", "--image", "registry.example:5000/team/reviews@sha256:0a", "--storage-uri", uri]
    assert triton(bundle, *options, "--output", tmp_path / "out").returncode == 0
    service = YAML(typ="safe").load(tmp_path / "out" / "inference-service.yaml")
    model = service["spec"]["predictor"]["model"]
    assert service["metadata"]["name"] == "reviews-v2" and model["protocolVersion"] == "v2"
    assert model["storageUri"] == uri and model["image"].endswith("@sha256:0a")
    assert model["resources"]["limits"] == model["resources"]["requests"]
    assert re.fullmatch(r"\d+Mi", model["resources"]["limits"]["memory"])
    (volume,) = service["spec"]["predictor"]["volumes"]
    assert model["volumeMounts"][0]["name"] == volume["name"] and volume["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--storage-uri", "/mnt/models"], "not an address that KServe reads"),
        (["--storage-uri", "s3://"], "not an address that KServe reads"),
        (["--storage-uri", "s3://a\nb"], "not an address that KServe reads"),
        (["--image", "reviews:1\nUSER root"], "not the name of an image"),
        (["--name", "a/b"], "expected at most 100 of A-Z"),
        (["--name", "..",], "expected at most 100 of A-Z"),
        (["--name", "reviews_model"], "without _model at the end"),
        (["--name", "x" * 101], "expected at most 100"),
        (["--name", "a", "--name", "b"], "got 2 names for 1 bundles"),
        (["--name", "отзывы"], "choose one with --name"),
    ],
)  # fmt: skip
def test_a_wrong_option_gives_one_line_and_writes_nothing(triton, bundle, tmp_path, options, message):
    done = triton(bundle, *options, "--output", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_bundles_with_one_name_need_names(triton, bundle, tmp_path):
    second = shutil.copytree(bundle, tmp_path / "second")
    out = tmp_path / "out"
    done = triton(bundle, second, "--output", out)
    assert done.returncode == 2 and "both have the name tiny-fp32; give each bundle another --name" in done.stderr
    done = triton(bundle, second, "--name", "A", "--name", "a", "--output", out)
    assert done.returncode == 2 and "both have the name a" in done.stderr
    done = triton(bundle, second, "--name", "a", "--name", "b", "--output", out, "--json")
    assert done.returncode == 0 and list(json.loads(done.stdout)["models"]) == ["a", "b"], done.stderr
    service = YAML(typ="safe").load(out / "inference-service.yaml")
    assert service["metadata"]["name"] == "pocketbert"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "etc-passwd-fp32"),
        ('a"} b\n#', "a-b--fp32"),
        (".hidden", "hidden-fp32"),
        ("café 2", "caf-2-fp32"),
        ("отзывы", None),
        ("", None),
    ],
)
def test_odd_names_of_bundles_become_names_of_models(triton, bundle, tmp_path, name, expected):
    odd = renamed(bundle, tmp_path / "odd", name=name)
    done = triton(odd, "--output", tmp_path / "out")
    if expected is None:
        assert done.returncode == 2 and "has no Latin letter; choose one with --name" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert [path.name for path in (tmp_path / "out" / "models").iterdir()] == [expected]


def test_a_variant_for_cpus_is_refused_on_a_gpu(triton, bundle, tmp_path):
    other = renamed(bundle, tmp_path / "other", variant="int8-dynamic")
    done = triton(other, "--gpu", "--output", tmp_path / "out")
    assert done.returncode == 2 and "which onnxruntime does not run on a GPU; expected fp32 or fp16" in done.stderr


def test_a_damaged_bundle_is_refused(triton, bundle, tmp_path):
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    with (damaged / "onnx" / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = triton(damaged, "--output", tmp_path / "out")
    assert done.returncode == 2 and "changed since the bundle was written" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_second_call_replaces_what_the_first_wrote_and_keeps_edits(triton, bundle, tmp_path):
    out = tmp_path / "out"
    assert triton(bundle, "--gpu", "--output", out).returncode == 0
    (out / "models" / "tiny-fp32" / "config.pbtxt").write_text("my own")
    (out / "notes.txt").write_text("mine")
    done = triton(bundle, "--name", "other", "--output", out)
    assert done.returncode == 0, done.stderr
    assert (out / "notes.txt").read_text() == "mine"
    kept = [path for path in out.rglob("config.pbtxt") if path.read_text() == "my own"]
    assert len(kept) == 1 and "moved to" in done.stderr
    assert [path.name for path in (out / "models").iterdir()] == ["other"]
    assert triton(bundle, "--name", "other", "--output", out).stderr == ""


def test_files_of_the_user_stay(triton, bundle, tmp_path):
    (tmp_path / "out" / "models").mkdir(parents=True)
    done = triton(bundle, "--output", tmp_path / "out")
    assert done.returncode == 2 and "already exists" in done.stderr
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "models"]


@pytest.mark.parametrize("name", ["models", "models/tiny-fp32"])
def test_a_link_in_the_place_of_a_folder_is_moved_and_not_followed(triton, bundle, tmp_path, name):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    assert triton(bundle, "--output", out).returncode == 0
    (out / name).rename(elsewhere)
    (out / name).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    done = triton(bundle, "--output", out)
    assert done.returncode == 0 and "moved to" in done.stderr, done.stderr
    assert sorted(elsewhere.rglob("*")) == before and not (out / name).is_symlink()
    assert (out / "models" / "tiny-fp32" / "config.pbtxt").is_file()


@pytest.mark.parametrize("inside", ["", "out"])
def test_an_output_inside_of_a_bundle_is_refused(triton, bundle, tmp_path, inside):
    own = shutil.copytree(bundle, tmp_path / "own")
    done = triton(own, "--output", own / inside)
    assert done.returncode == 2 and f"inside the bundle {own}" in done.stderr
    Classifier(own)


def test_labels_are_one_per_line():
    assert config_text.labels_text(["a\nb", "c:d", " é\t"]) == "a b\nc:d\né\n"


def test_the_image_pins_the_newest_packages_of_the_bundles(bundle):
    from dataclasses import replace

    info = read_bundle_info(bundle)
    old = replace(info, versions={"onnxruntime-gpu": "1.9.0", "tokenizers": "0.22.1"})
    new = replace(info, versions={"onnxruntime": "1.32.0", "tokenizers": "1.0\nRUN x"})
    assert image.requirements([old, new]) == "onnxruntime==1.32.0\ntokenizers==0.22.1\nnumpy<2\n"
    assert image.requirements([]) == "onnxruntime\ntokenizers\nnumpy<2\n"
    assert re.search(r"^FROM nvcr\.io/nvidia/tritonserver:\d\d\.\d\d-py3$", image.DOCKERFILE, flags=re.MULTILINE)
    assert re.search(r"^USER \d+$", image.DOCKERFILE, flags=re.MULTILINE)
