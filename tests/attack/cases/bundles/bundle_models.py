"""The model or the tokenizer of a bundle is replaced, and SHA256SUMS is written again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.attack.attack import Attack, Case, Scratch
from tests.attack.cases.bundles.sealing import change_json, seal, verify, verify_and_predict, write
from tests.attack.material import truncate

TYPE = "model and tokenizer of a bundle"
SOURCE, OTHER = "fp32", "int8-dynamic"
Damage = Callable[[Path, Scratch], object]


def attacks(seed: int) -> list[Attack]:
    """One attack per damage."""
    return [
        *[_attack(f"model/{name}", damage, predicts=True) for name, damage in BROKEN_MODELS.items()],
        *[_attack(f"model/{name}", damage, predicts=False) for name, damage in OTHER_MODELS.items()],
        *[_attack(f"tokenizer/{name}", damage, predicts=True) for name, damage in BROKEN_TOKENIZERS.items()],
        *[_attack(f"tokenizer/{name}", damage, predicts=False) for name, damage in OTHER_TOKENIZERS.items()],
    ]


def _attack(name: str, damage: Damage, *, predicts: bool) -> Attack:
    """`predicts`: predict.py must refuse too, or give the old answers. `verify` must refuse in any case."""

    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.copy(scratch.material.bundle(SOURCE), "bundle")
        damage(bundle, scratch)
        seal(bundle)
        if not predicts:
            return Case(commands=[verify(bundle)], must_refuse=True)
        return verify_and_predict(scratch, bundle, source=SOURCE, must_refuse=True)

    return Attack(name=f"bundle-models/{name}", type=TYPE, prepare=prepare, seconds=0.7)


def _model(change: Callable[[onnx.ModelProto], object]) -> Damage:
    def damage(bundle: Path, _: Scratch) -> None:
        path = bundle / "onnx" / "model.onnx"
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())

    return damage


def _file(name: str, change: Callable[[Path], object]) -> Damage:
    return lambda bundle, _: change(bundle / name)


def _change_weights(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Change every floating-point matrix of the model."""

    def edit(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim == 2:
                tensor.CopyFrom(numpy_helper.from_array(change(values.copy()), tensor.name))

    return _model(edit)


def _replace_output(operator: str, **attributes: Any) -> Damage:
    """The logits go through one more operator."""

    def edit(model: onnx.ModelProto) -> None:
        _rename_output(model, "inner")
        model.graph.node.append(helper.make_node(operator, ["inner"], ["logits"], **attributes))

    return _model(edit)


def _rename_output(model: onnx.ModelProto, name: str) -> None:
    for node in model.graph.node:
        node.output[:] = [name if output == "logits" else output for output in node.output]


def _rename_input(model: onnx.ModelProto) -> None:
    old, new = model.graph.input[0].name, "words"
    model.graph.input[0].name = new
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _more_outputs(model: onnx.ModelProto) -> None:
    """The model has three classes, and its declared output has any number."""
    _rename_output(model, "inner")
    model.graph.node.append(helper.make_node("Concat", ["inner", "inner"], ["logits"], axis=1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"


def _nan_logits(model: onnx.ModelProto) -> None:
    _rename_output(model, "inner")
    model.graph.node.append(helper.make_node("Sub", ["inner", "inner"], ["zero"]))
    model.graph.node.append(helper.make_node("Div", ["zero", "zero"], ["logits"]))


def _external(location: str) -> Damage:
    """The first weights are in another file."""

    def edit(model: onnx.ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": str(size)}.items():
            tensor.external_data.add(key=key, value=value)

    return _model(edit)


def _huge_tensor(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend([2**40, 2**20])


def _custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].domain = "org.example"
    model.opset_import.append(helper.make_opsetid("org.example", 1))


def _another_model(bundle: Path, scratch: Scratch) -> None:
    shutil.copy(scratch.material.bundle(OTHER) / "onnx" / "model.onnx", bundle / "onnx" / "model.onnx")


MODEL = "onnx/model.onnx"
BROKEN_MODELS: dict[str, Damage] = {
    "empty": _file(MODEL, lambda path: write(path, b"")),
    "half": _file(MODEL, lambda path: truncate(path, 0.5)),
    "the first byte": _file(MODEL, lambda path: truncate(path, 1e-4)),
    "zeros": _file(MODEL, lambda path: write(path, bytes(5000))),
    "text": _file(MODEL, lambda path: write(path, "not a model")),
    "web page": _file(MODEL, lambda path: write(path, "<!DOCTYPE html>")),
    "LFS pointer": _file(MODEL, lambda path: write(path, "version https://git-lfs.github.com/spec/v1\n")),
    "another input": _model(_rename_input),
    "another output": _model(
        lambda model: (_rename_output(model, "scores"), setattr(model.graph.output[0], "name", "scores"))
    ),
    "no outputs": _model(lambda model: model.graph.ClearField("output")),
    "no nodes": _model(lambda model: model.graph.ClearField("node")),
    "twice as many classes": _model(_more_outputs),
    "logits of rank 3": _replace_output("Unsqueeze", axes=[0]),
    "a scalar": _replace_output("ReduceSum"),
    "whole numbers": _replace_output("Cast", to=onnx.TensorProto.INT64),
    "texts": _replace_output("Cast", to=onnx.TensorProto.STRING),
    "transposed": _replace_output("Transpose", perm=[1, 0]),
    "NaN": _model(_nan_logits),
    "weights NaN": _change_weights(lambda values: values * np.nan),
    "weights infinite": _change_weights(lambda values: values * np.float32(np.inf)),
    "weights elsewhere": _external("../../outside.bin"),
    "weights at an absolute path": _external("/etc/passwd"),
    "weights in a missing file": _external("model.onnx.data"),
    "a tensor of 4 exabytes": _model(_huge_tensor),
    "a custom operator": _model(_custom_operator),
    "a later opset": _model(lambda model: setattr(model.opset_import[0], "version", 10_000)),
    "a later format": _model(lambda model: setattr(model, "ir_version", 10_000)),
}
OTHER_MODELS: dict[str, Damage] = {
    "of another variant": _another_model,
    "weights 10% larger": _change_weights(lambda values: values * np.float32(1.1)),
    "weights negative": _change_weights(lambda values: -values),
    "weights zero": _change_weights(lambda values: values * 0),
    "logits negative": _replace_output("Neg"),
    "logits rounded": _replace_output("Round"),
}


def _tokenizer(change: Callable[[dict[str, Any]], object]) -> Damage:
    return _file("tokenizer.json", lambda path: change_json(path, change))


def _permute(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    words = [word for word in vocabulary if not word.startswith("[")]
    ids = [vocabulary[word] for word in words]
    vocabulary.update(dict(zip(words, ids[1:] + ids[:1], strict=True)))


def _raise_ids(content: dict[str, Any]) -> None:
    """Ids beyond the model's embedding."""
    vocabulary = content["model"]["vocab"]
    vocabulary.update({word: number + 1000 for word, number in vocabulary.items() if not word.startswith("[")})


FILE = "tokenizer.json"
BROKEN_TOKENIZERS: dict[str, Damage] = {
    "empty": _file(FILE, lambda path: write(path, b"")),
    "half": _file(FILE, lambda path: truncate(path, 0.5)),
    "an object": _file(FILE, lambda path: write(path, "{}")),
    "a list": _file(FILE, lambda path: write(path, "[]")),
    "deep": _file(FILE, lambda path: write(path, "[" * 100_000)),
    "binary": _file(FILE, lambda path: write(path, bytes(range(256)) * 20)),
    "web page": _file(FILE, lambda path: write(path, "<!DOCTYPE html>")),
    "no model": _tokenizer(lambda content: content.pop("model")),
    "a later model": _tokenizer(lambda content: content["model"].update(type="FromTheFuture")),
    "no vocabulary": _tokenizer(lambda content: content["model"].update(vocab={})),
    "ids beyond the embedding": _tokenizer(_raise_ids),
    "negative ids": _tokenizer(lambda content: content["model"]["vocab"].update(film=-1)),
    "text as an id": _tokenizer(lambda content: content["model"]["vocab"].update(film="5")),
    "no unknown token": _tokenizer(lambda content: content["model"].update(unk_token="none")),
}
OTHER_TOKENIZERS: dict[str, Damage] = {
    "words permuted": _tokenizer(_permute),
    "no special tokens": _tokenizer(lambda content: content.update(post_processor=None)),
    "no splitting": _tokenizer(lambda content: content.update(pre_tokenizer=None)),
    "an id too high": _tokenizer(lambda content: content["model"]["vocab"].update(unused_word=10**6)),
}
