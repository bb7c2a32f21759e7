"""Model folders that are spoilt in one way each, and the message about each. `Models` builds the sound ones."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tiny_bert import LABELS, config, make_tokenizer

Weights = dict[str, torch.Tensor]
ABSENT = object()  # as the value of a key: remove it
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
LAYER = "bert.encoder.layer.0.output.dense"
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
SIZES = {
    "vocab_size": 27,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}


@dataclass
class Models:
    """A folder with sound models: teacher, base, masked_lm, roberta, distilbert and electra."""

    root: Path
    count: int = 0

    @classmethod
    def build(cls, root: Path) -> "Models":
        torch.manual_seed(3)
        distilbert = DistilBertConfig(
            vocab_size=27, dim=32, n_layers=4, n_heads=4, hidden_dim=64, max_position_embeddings=64, **NAMES
        )
        models = {
            "base": BertModel(config()),
            "teacher": BertForSequenceClassification(config()),
            "masked_lm": BertForMaskedLM(config()),
            "roberta": RobertaForSequenceClassification(
                RobertaConfig(**SIZES, pad_token_id=0, type_vocab_size=1, **NAMES)
            ),
            "distilbert": DistilBertForSequenceClassification(distilbert),
            "electra": ElectraForSequenceClassification(ElectraConfig(**SIZES, embedding_size=16, **NAMES)),
        }
        for name, model in models.items():
            model.save_pretrained(root / name)
            make_tokenizer().save_pretrained(root / name)
        return cls(root)

    def copy(self, source: str = "teacher", **changes: object) -> Path:
        """A copy of a model, with other values in config.json."""
        self.count += 1
        folder = self.root / f"copy-{self.count}"
        shutil.copytree(self.root / source, folder)
        return change_json(folder, "config.json", **changes) if changes else folder

    def empty(self) -> Path:
        self.count += 1
        folder = self.root / f"copy-{self.count}"
        folder.mkdir()
        return folder


class Harm:
    """What a pickle does when it is loaded: it makes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def change_json(folder: Path, name: str, **changes: object) -> Path:
    path = folder / name
    content = {**(json.loads(path.read_text()) if path.exists() else {}), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ABSENT}))
    return folder


def write(folder: Path, name: str, content: str | bytes) -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def without(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).unlink()
    return folder


def with_weights(folder: Path, change: Callable[[Weights], Weights]) -> Path:
    path = folder / "model.safetensors"
    weights = {name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def with_names(folder: Path, rename: Callable[[str], str]) -> Path:
    return with_weights(folder, lambda weights: {rename(name): tensor for name, tensor in weights.items()})


def as_pickle(folder: Path, change: Callable[[Weights], Any] = lambda weights: weights, **options: object) -> Path:
    """The weights as pytorch_model.bin."""
    content = change(load_file(folder / "model.safetensors"))
    torch.save(content, without(folder, "model.safetensors") / "pytorch_model.bin", **options)
    return folder


def in_shards(folder: Path, *, pickled: bool = False, missing: bool = False) -> Path:
    weights = load_file(folder / "model.safetensors")
    without(folder, "model.safetensors")
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    files = [f"{stem}-0000{number}-of-00002.{suffix}" for number in (1, 2)]
    file_of = {name: files[number % 2] for number, name in enumerate(sorted(weights))}
    for file in files[:1] if missing else files:
        shard = {name: weights[name] for name in weights if file_of[name] == file}
        (torch.save if pickled else save_file)(shard, folder / file)
    return write(folder, f"{stem}.{suffix}.index.json", json.dumps({"weight_map": file_of}))


def change_tokenizer(folder: Path, change: Callable[[Any], None]) -> Path:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def without_token(folder: Path, token: str) -> Path:
    def remove(content: Any) -> None:
        content["model"]["vocab"].pop(token)
        content["added_tokens"] = [entry for entry in content["added_tokens"] if entry["content"] != token]

    return change_tokenizer(folder, remove)


def vocabulary_only(folder: Path, text: str) -> Path:
    """A folder with vocab.txt instead of tokenizer.json."""
    write(without(folder, "tokenizer.json", "tokenizer_config.json"), "vocab.txt", text)
    return change_json(folder, "tokenizer_config.json", tokenizer_class="BertTokenizer")


def pipe(folder: Path, name: str) -> Path:
    os.mkfifo(without(folder, name) / name)
    return folder


def dangling(folder: Path, name: str) -> Path:
    (without(folder, name) / name).symlink_to(name)
    return folder


def legacy_names(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


VOCABULARY = [token for token, _ in sorted(make_tokenizer().get_vocab().items(), key=lambda item: item[1])]
Case = tuple[Callable[[Models], Path], str]

# kind -> (builds the folder, a part of the one message)
CONFIGS: dict[str, Case] = {
    "fewer layers than weights": (
        lambda m: m.copy(num_hidden_layers=2),
        "config.json has 2 layers, the weights have 4",
    ),
    "fewer layers, DistilBERT": (lambda m: m.copy("distilbert", n_layers=3), "has 3 layers, the weights have 4"),
    "fewer layers, ELECTRA": (lambda m: m.copy("electra", num_hidden_layers=1), "has 1 layers, the weights have 4"),
    "fewer layers, RoBERTa": (lambda m: m.copy("roberta", num_hidden_layers=2), "has 2 layers, the weights have 4"),
    "more layers than weights": (lambda m: m.copy(num_hidden_layers=6), "its weights lack 32 of those"),
    "another width": (lambda m: m.copy(intermediate_size=128), "has the shape 64, but config.json requires 128"),
    "more positions": (
        lambda m: m.copy(max_position_embeddings=512),
        "the shape 64x32, but config.json requires 512x32",
    ),
    "fewer positions": (
        lambda m: m.copy(max_position_embeddings=32),
        "the shape 64x32, but config.json requires 32x32",
    ),
    "fewer token types": (lambda m: m.copy(type_vocab_size=1), "the shape 2x32, but config.json requires 1x32"),
    "relative positions": (
        lambda m: m.copy(position_embedding_type="relative_key_query"),
        "position_embedding_type is 'relative_key_query': this version of transformers has absolute positions only",
    ),
    "rotary positions": (lambda m: m.copy(rope_scaling={"type": "linear"}), "rope_scaling is {'type': 'linear'}"),
    "code of its own": (lambda m: m.copy(auto_map={"AutoModel": "modeling.X"}), "code of its own, which is not run"),
    "a decoder": (lambda m: m.copy(is_decoder=True), "is_decoder is True: the model is a decoder"),
    "cross attention": (lambda m: m.copy(add_cross_attention=True), "add_cross_attention is True"),
    "encoder and decoder": (lambda m: m.copy(is_encoder_decoder=True), "is_encoder_decoder is True"),
    "pruned heads": (lambda m: m.copy(pruned_heads={"1": [0]}), "pruned_heads is {'1': [0]}"),
    "quantised": (lambda m: m.copy(quantization_config={"bits": 4}), "the weights are quantised; name the original"),
    "AdapterHub": (lambda m: m.copy(adapters={"adapters": {"a": "b"}}), "the model has adapters; merge them"),
    "other file of weights": (lambda m: m.copy(transformers_weights="x.safetensors"), "the weights have another name"),
    "contradicting layers": (
        lambda m: m.copy("distilbert", num_hidden_layers=2),
        "n_layers is 4, but num_hidden_layers is 2; expected equal values",
    ),
    "another padding index": (lambda m: m.copy("roberta", pad_token_id=1), "on which positions depend"),
    "unknown activation": (lambda m: m.copy(hidden_act="gelu_nova"), "no model could be loaded"),
    "epsilon as text": (
        lambda m: m.copy(layer_norm_eps="1e-12"),
        "layer_norm_eps is '1e-12'; expected a number above 0",
    ),
    "epsilon null": (lambda m: m.copy(layer_norm_eps=None), "layer_norm_eps is None; expected a number above 0"),
    "epsilon negative": (
        lambda m: m.copy(layer_norm_eps=-1e-12),
        "layer_norm_eps is -1e-12; expected a number above 0",
    ),
    "epsilon NaN": (lambda m: m.copy(layer_norm_eps=float("nan")), "layer_norm_eps is nan; expected a number above 0"),
    "width as text": (lambda m: m.copy(hidden_size="32"), "hidden_size is '32'; expected a whole number"),
    "heads as fraction": (lambda m: m.copy(num_attention_heads=4.0), "num_attention_heads is 4.0; expected a whole"),
    "heads that do not divide": (
        lambda m: m.copy(num_attention_heads=5),
        "32 is not a multiple of the 5 attention heads",
    ),
    "no heads": (lambda m: m.copy(num_attention_heads=0), "num_attention_heads is 0; expected a whole number from 1"),
    "a billion layers": (lambda m: m.copy(num_hidden_layers=10**9), "expected a whole number from 1 to 1000"),
    "layers true": (lambda m: m.copy(num_hidden_layers=True), "num_hidden_layers is True; expected a whole number"),
    "huge vocabulary": (lambda m: m.copy(vocab_size=10**15), "vocab_size is 1000000000000000; expected a whole number"),
    "dropout as text": (lambda m: m.copy(hidden_dropout_prob="a"), "hidden_dropout_prob is 'a'; expected a number"),
    "padding above the vocabulary": (lambda m: m.copy(pad_token_id=999), "expected a token id from 0 to 26"),
    "padding as text": (lambda m: m.copy(pad_token_id="0"), "pad_token_id is '0'; expected a token id"),
    "activation null": (lambda m: m.copy(hidden_act=None), "hidden_act is None; expected the name of an activation"),
    "spread as text": (
        lambda m: m.copy(initializer_range="0.02"),
        "config.json is not valid (Validation error for field",
    ),
    "model_type a number": (lambda m: m.copy(model_type=5), "model_type is 5; expected the name of an architecture"),
    "model_type unknown": (
        lambda m: m.copy(model_type="bort"),
        "the model_type 'bort', which transformers does not know",
    ),
    "model_type missing": (lambda m: m.copy(model_type=ABSENT), "config.json names no model_type"),
    "architectures a number": (lambda m: m.copy(architectures=5), "architectures is 5; expected a list of class names"),
    "label keys from 1": (lambda m: m.copy(id2label={"1": "a", "2": "b"}), "the keys 1, 2; expected 0 to 1"),
    "labels inverted": (lambda m: m.copy(id2label={"a": 0, "b": 1}), "it looks like label2id"),
    "label twice": (lambda m: m.copy(id2label=["a", "a"]), "id2label has the name 'a' twice"),
    "label a list": (lambda m: m.copy(id2label={"0": ["a"], "1": "b"}), "the name ['a'] for output 0"),
    "labels empty": (lambda m: m.copy(id2label={}), "id2label is empty"),
    "labels text": (lambda m: m.copy(id2label="a, b"), "id2label is 'a, b'"),
    "label count": (lambda m: m.copy(num_labels=3), "names 2 outputs, but num_labels is 3; correct one of them"),
    "empty file": (lambda m: write(m.copy(), "config.json", ""), "config.json is empty"),
    "a list": (lambda m: write(m.copy(), "config.json", "[]"), "config.json holds a list"),
    "web page": (lambda m: write(m.copy(), "config.json", "<!DOCTYPE html><p>404"), "config.json is a web page"),
    "LFS pointer": (lambda m: write(m.copy(), "config.json", LFS_POINTER), "config.json is a Git LFS pointer"),
    "UTF-16": (lambda m: write(m.copy(), "config.json", '{"a": 1}'.encode("utf-16")), "config.json is not UTF-8"),
    "a key twice": (lambda m: write(m.copy(), "config.json", '{"a": 1, "a": 2}'), "the key 'a' twice"),
    "a thousand layers": (lambda m: m.copy(num_hidden_layers=1000), "has 1000 layers (num_hidden_layers), the weights"),
    "a vocabulary of gigabytes": (lambda m: m.copy(vocab_size=10**7), "describes an encoder of 320,037,408 weights"),
    "a billion outputs": (
        lambda m: m.copy(id2label=ABSENT, label2id=ABSENT, num_labels=10**9),
        "it names 1,000,000,000 outputs; expected at most 10,000",
    ),
    "nested deeply": (lambda m: write(m.copy(), "config.json", '{"a":' * 10**5), "config.json is not JSON (maximum"),
    "larger than 32 MB": (
        lambda m: write(m.copy(), "config.json", " " * 32_000_001),
        "config.json has 32,000,001 bytes; expected at most 32,000,000",
    ),
}

WEIGHTS: dict[str, Case] = {
    "half the shards": (lambda m: in_shards(m.copy(), missing=True), "names 2 files, but 1 are missing"),
    "index of another folder": (
        lambda m: write(
            without(m.copy(), "model.safetensors"), "model.safetensors.index.json", '{"weight_map": {"a": "../b"}}'
        ),
        "names a file in another folder (../b)",
    ),
    "index of nothing": (
        lambda m: write(without(m.copy(), "model.safetensors"), "model.safetensors.index.json", "{}"),
        "has no weight_map",
    ),
    "harmful pickle": (
        lambda m: as_pickle(m.copy(), lambda weights: {**weights, "x": Harm(m.root / "harmed")}),
        "got pickled weights (pytorch_model.bin) with other objects",
    ),
    "harmful plain pickle": (
        lambda m: write(
            without(m.copy(), "model.safetensors"), "pytorch_model.bin", pickle.dumps(Harm(m.root / "harmed"))
        ),
        "got pickled weights (pytorch_model.bin) with other objects",
    ),
    "whole module": (lambda m: as_pickle(m.copy(), lambda _: torch.nn.Linear(2, 2)), "torch.nn.modules.linear.Linear"),
    "state_dict": (
        lambda m: as_pickle(m.copy(), lambda weights: {"state_dict": weights, "epoch": 3}),
        "a checkpoint of a training program with the keys state_dict, epoch",
    ),
    "a list of tensors": (lambda m: as_pickle(m.copy(), lambda weights: list(weights.values())), "holds a list"),
    "pickle cut off": (
        lambda m: write(
            folder := as_pickle(m.copy()), "pytorch_model.bin", (folder / "pytorch_model.bin").read_bytes()[:-5000]
        ),
        "pytorch_model.bin is damaged or cut off",
    ),
    "text as pickle": (
        lambda m: write(without(m.copy(), "model.safetensors"), "pytorch_model.bin", "not here"),
        "pytorch_model.bin is damaged or cut off, or no file of torch.save",
    ),
    "pickle LFS pointer": (
        lambda m: write(without(m.copy(), "model.safetensors"), "pytorch_model.bin", LFS_POINTER),
        "pytorch_model.bin is a Git LFS pointer",
    ),
    "LFS pointer": (
        lambda m: write(m.copy(), "model.safetensors", LFS_POINTER),
        "model.safetensors is a Git LFS pointer",
    ),
    "cut off": (
        lambda m: write(folder := m.copy(), "model.safetensors", (folder / "model.safetensors").read_bytes()[:-900]),
        "model.safetensors is damaged or cut off",
    ),
    "empty": (lambda m: write(m.copy(), "model.safetensors", ""), "model.safetensors is empty"),
    "NaN": (
        lambda m: with_weights(m.copy(), lambda w: {**w, f"{LAYER}.weight": w[f"{LAYER}.weight"] * float("nan")}),
        f"the weight {LAYER}.weight contains NaN or infinity; expected finite numbers",
    ),
    "infinity, pickled": (
        lambda m: as_pickle(m.copy(), lambda w: {**w, f"{LAYER}.bias": torch.full((32,), float("inf"))}),
        f"the weight {LAYER}.bias contains NaN or infinity",
    ),
    "zeros at the end": (
        lambda m: write(
            folder := m.copy(),
            "model.safetensors",
            (folder / "model.safetensors").read_bytes()[:-50_000] + bytes(50_000),
        ),
        "is zero throughout; the file is damaged",
    ),
    "longer header than file": (
        lambda m: write(m.copy(), "model.safetensors", (1 << 40).to_bytes(8, "little") + b"{}"),
        "model.safetensors is damaged or cut off",
    ),
    "web page": (lambda m: write(m.copy(), "model.safetensors", "<html>404</html>"), "model.safetensors is a web page"),
    "nothing in it": (lambda m: with_weights(m.copy(), lambda _: {}), "model.safetensors holds no weights"),
    "Lightning prefix": (
        lambda m: with_names(m.copy(), lambda name: f"model.{name}"),
        "the names of its weights begin with 'model.bert.'; expected 'bert.'",
    ),
    "weights of another architecture": (
        lambda m: write(m.copy("roberta"), "model.safetensors", (m.root / "teacher/model.safetensors").read_bytes()),
        "the names of its weights begin with 'bert.'; expected 'roberta.'",
    ),
    "unmerged LoRA": (
        lambda m: with_weights(m.copy(), lambda w: {**w, f"{LAYER}.lora_A.default.weight": torch.ones(2, 64)}),
        "LoRA weights that are not merged",
    ),
    "GPTQ": (
        lambda m: with_weights(m.copy(), lambda w: {**w, f"{LAYER}.qweight": torch.ones(2, dtype=torch.int32)}),
        "these are quantised weights",
    ),
    "float8": (
        lambda m: with_weights(
            m.copy(), lambda w: {**w, f"{LAYER}.weight": w[f"{LAYER}.weight"].to(torch.float8_e4m3fn)}
        ),
        "is float8_e4m3fn; expected float32",
    ),
    "int8": (
        lambda m: with_weights(m.copy(), lambda w: {**w, f"{LAYER}.weight": w[f"{LAYER}.weight"].to(torch.int8)}),
        "is int8; expected float32",
    ),
    "being pruned": (
        lambda m: with_weights(m.copy(), lambda w: {**w, f"{LAYER}.weight_mask": torch.ones(32, 64)}),
        "weights that are being pruned",
    ),
    "once with, once without prefix": (
        lambda m: with_weights(m.copy(), lambda w: {**w, "embeddings.LayerNorm.bias": torch.ones(32)}),
        "embeddings.LayerNorm.bias twice",
    ),
    "once with the old name": (
        lambda m: with_weights(m.copy(), lambda w: {**w, "bert.embeddings.LayerNorm.gamma": torch.ones(32)}),
        "bert.embeddings.LayerNorm.weight twice",
    ),
    "one more in a layer": (
        lambda m: with_weights(m.copy(), lambda w: {**w, f"{LAYER}.gate": torch.ones(3)}),
        f"contain 1 that the model of config.json lacks, such as {LAYER}.gate",
    ),
    "one more in the head": (
        lambda m: with_weights(m.copy(), lambda w: {**w, "classifier.2.weight": torch.ones(3)}),
        "contain 1 that the model of config.json lacks, such as classifier.2.weight",
    ),
    "other outputs": (
        lambda m: with_weights(m.copy(), lambda w: {**w, "classifier.bias": torch.ones(3)}),
        "its weight classifier.bias has the shape 3, but config.json requires 2",
    ),
    "one less": (
        lambda m: with_weights(m.copy(), lambda w: {key: w[key] for key in w if key != f"{LAYER}.bias"}),
        f"its weights lack 1 of those that config.json requires, such as {LAYER}.bias",
    ),
}

FOLDERS: dict[str, Case] = {
    "adapter": (
        lambda m: write(without(m.copy(), "config.json"), "adapter_config.json", '{"base_model_name_or_path": "b"}'),
        "it holds an adapter (PEFT) of b, not a whole model",
    ),
    "adapter and config": (
        lambda m: write(m.copy(), "adapter_config.json", '{"peft_type": "LORA"}'),
        "it holds an adapter (LORA) of another model",
    ),
    "TensorFlow": (lambda m: write(without(m.copy(), "model.safetensors"), "tf_model.h5", b"x"), "TensorFlow weights"),
    "Flax": (lambda m: write(without(m.copy(), "model.safetensors"), "flax_model.msgpack", b"x"), "Flax weights"),
    "GGUF": (lambda m: write(m.empty(), "bert.Q4_K.gguf", b"x"), "bert.Q4_K.gguf holds GGUF weights"),
    "ONNX": (
        lambda m: write(without(m.copy(), "model.safetensors"), "model.onnx", b"x"),
        "an ONNX graph without torch",
    ),
    "Lightning": (lambda m: write(without(m.copy(), "model.safetensors"), "last.ckpt", b"x"), "a training checkpoint"),
    "variant": (
        lambda m: write(without(m.copy(), "model.safetensors"), "model.fp16.safetensors", b"x"),
        "another variant of the weights; rename the file",
    ),
    "sentence-transformers": (
        lambda m: (folder := m.empty(), shutil.copytree(m.root / "teacher", folder / "0_Transformer"))[0],
        "0_Transformer holds a model; name that folder",
    ),
    "checkpoints": (
        lambda m: (
            folder := m.empty(),
            *(shutil.copytree(m.root / "teacher", folder / f"checkpoint-{steps}") for steps in (500, 1000)),
        )[0],
        "checkpoint-1000 holds a model; name that folder",
    ),
    "empty": (lambda m: m.empty(), "the folder is empty"),
    "other files": (lambda m: write(m.empty(), "notes.txt", "x"), "config.json is missing; the folder has notes.txt"),
    "a file": (lambda m: m.copy() / "model.safetensors", "got a file; name the folder that holds it"),
    "an archive": (lambda m: write(m.empty(), "m.tar.gz", b"x") / "m.tar.gz", "got an archive (m.tar.gz); unpack it"),
    "nothing": (lambda m: m.root / "nothing", "no such folder"),
    "a pipe as weights": (lambda m: pipe(m.copy(), "model.safetensors"), "model.safetensors is a pipe, a socket or"),
    "a pipe as tokenizer": (lambda m: pipe(m.copy(), "tokenizer.json"), "tokenizer.json is a pipe, a socket or"),
    "a link to itself": (lambda m: dangling(m.copy(), "config.json"), "config.json is a link to a missing file"),
    "no weights": (lambda m: without(m.copy(), "model.safetensors"), "model.safetensors is missing; the folder has"),
}

TOKENIZERS: dict[str, Case] = {
    "of a later version": (
        lambda m: change_tokenizer(m.copy(), lambda content: content.update(pre_tokenizer={"type": "FromTheFuture"})),
        "its tokenizer could not be loaded (data did not match any variant",
    ),
    "cut off": (
        lambda m: write(folder := m.copy(), "tokenizer.json", (folder / "tokenizer.json").read_bytes()[:300]),
        "its tokenizer could not be loaded",
    ),
    "an object": (lambda m: write(m.copy(), "tokenizer.json", "{}"), "its tokenizer could not be loaded"),
    "a list": (lambda m: write(m.copy(), "tokenizer.json", "[]"), "its tokenizer could not be loaded"),
    "empty": (lambda m: write(m.copy(), "tokenizer.json", ""), "tokenizer.json is empty"),
    "LFS pointer": (lambda m: write(m.copy(), "tokenizer.json", LFS_POINTER), "tokenizer.json is a Git LFS pointer"),
    "missing": (lambda m: without(m.copy(), "tokenizer.json"), "the model comes without a tokenizer"),
    "Japanese, without its packages": (
        lambda m: change_json(
            vocabulary_only(m.copy(), "\n".join(VOCABULARY)),
            "tokenizer_config.json",
            tokenizer_class="BertJapaneseTokenizer",
            word_tokenizer_type="mecab",
        ),
        "its tokenizer could not be loaded (You need to install fugashi",
    ),
    "no padding": (
        lambda m: change_json(
            change_tokenizer(
                m.copy(),
                lambda content: content.update(
                    added_tokens=[entry for entry in content["added_tokens"] if entry["content"] != "[PAD]"]
                ),
            ),
            "tokenizer_config.json",
            pad_token=ABSENT,
        ),
        "its tokenizer has no pad token",
    ),
    "more tokens than rows": (
        lambda m: change_tokenizer(m.copy(), lambda content: content["model"]["vocab"].update(new=27)),
        "its tokenizer has 28 tokens, but its embedding has 27 rows",
    ),
    "an id above the rows": (
        lambda m: change_tokenizer(m.copy(), lambda content: content["model"]["vocab"].update(end=99)),
        "gives the token 'end' the id 99, but its embedding has 27 rows",
    ),
    "no unknown token": (
        lambda m: change_json(without_token(m.copy(), "[UNK]"), "tokenizer_config.json", unk_token=ABSENT),
        "its tokenizer cannot encode a text (WordPiece error: Missing [UNK] token",
    ),
    "no special tokens": (
        lambda m: change_tokenizer(m.copy(), lambda content: content.update(post_processor=None)),
        "its tokenizer adds no special tokens",
    ),
    "empty vocabulary": (lambda m: vocabulary_only(m.copy(), ""), "vocab.txt is empty"),
    "vocabulary LFS pointer": (lambda m: vocabulary_only(m.copy(), LFS_POINTER), "vocab.txt is a Git LFS pointer"),
    "vocabulary latin-1": (
        lambda m: write(vocabulary_only(m.copy(), ""), "vocab.txt", "[PAD]\né".encode("latin-1")),
        "its tokenizer could not be loaded",
    ),
    "class a number": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", tokenizer_class=5),
        "tokenizer_class is 5; expected text",
    ),
    "parts of the file that transformers 5 ignores": (
        lambda m: change_json(
            change_tokenizer(m.copy(), lambda content: content.update(normalizer=None)),
            "tokenizer_config.json",
            tokenizer_class="BertTokenizer",
        ),
        "its tokenizer.json splits the text",
    ),
    "code of its own": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", auto_map={"AutoTokenizer": ["t.T", None]}),
        "tokenizer_config.json names code of its own (auto_map), which is not run",
    ),
    "options cut off": (
        lambda m: write(m.copy(), "tokenizer_config.json", '{"a":'),
        "tokenizer_config.json is not JSON",
    ),
    "options a list": (lambda m: write(m.copy(), "tokenizer_config.json", "[]"), "tokenizer_config.json holds a list"),
    "special tokens cut off": (
        lambda m: write(m.copy(), "special_tokens_map.json", '{"a":'),
        "special_tokens_map.json is not JSON",
    ),
    "padding a number": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", pad_token=5),
        "its tokenizer could not be loaded",
    ),
    "padding not in the vocabulary": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", pad_token="<none>"),
        "its tokenizer has 28 tokens",
    ),
    "length as text": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", model_max_length="32"),
        "model_max_length is '32'",
    ),
    "length negative": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", model_max_length=-1),
        "model_max_length is -1",
    ),
    "input names as text": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", model_input_names="input_ids"),
        "model_input_names is 'input_ids'; expected a list",
    ),
    "side unknown": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", padding_side="middle"),
        "its tokenizer could not be loaded (Padding side",
    ),
    "added tokens a list": (lambda m: write(m.copy(), "added_tokens.json", "[1]"), "added_tokens.json holds a list"),
    "rubbish sentencepiece": (
        lambda m: change_json(
            write(without(m.copy(), "tokenizer.json"), "sentencepiece.bpe.model", b"\x0a\x05rubbish"),
            "tokenizer_config.json",
            tokenizer_class="XLMRobertaTokenizer",
        ),
        "its tokenizer could not be loaded",
    ),
}

# kind -> (builds the folder, its one remark or None). The model must be that of `teacher`.
SOUND: dict[str, tuple[Callable[[Models], Path], str | None]] = {
    "pickle": (lambda m: as_pickle(m.copy()), None),
    "pickle of old torch": (lambda m: as_pickle(m.copy(), _use_new_zipfile_serialization=False), None),
    "pickle in shards": (lambda m: in_shards(m.copy(), pickled=True), None),
    "shards": (lambda m: in_shards(m.copy()), None),
    "safetensors next to a harmful pickle": (
        lambda m: write(m.copy(), "pytorch_model.bin", pickle.dumps(Harm(m.root / "harmed"))),
        None,
    ),
    "old names": (lambda m: with_names(m.copy(), legacy_names), None),
    "old names in a pickle": (lambda m: as_pickle(m.copy(), lambda w: {legacy_names(key): w[key] for key in w}), None),
    "torch.compile": (
        lambda m: with_names(m.copy(), lambda name: f"_orig_mod.{name}"),
        "'_orig_mod.' of torch.compile",
    ),
    "torch.compile inside": (
        lambda m: with_names(m.copy(), lambda name: name.replace("bert.", "bert._orig_mod.")),
        "'_orig_mod.' of torch.compile",
    ),
    "DataParallel": (lambda m: with_names(m.copy(), lambda name: f"module.{name}"), "'module.' of DataParallel"),
    "float64": (lambda m: with_weights(m.copy(), lambda w: {key: w[key].double() for key in w}), None),
    "position_ids": (
        lambda m: with_weights(m.copy(), lambda w: {**w, "bert.embeddings.position_ids": torch.arange(64)[None]}),
        None,
    ),
    "head of the pretraining": (
        lambda m: with_weights(m.copy(), lambda w: {**w, "cls.predictions.bias": torch.ones(27)}),
        "the weights of its head for another task are not used: cls",
    ),
    "weights of no known part": (
        lambda m: with_weights(m.copy(), lambda w: {**w, "crf.transitions": torch.ones(3)}),
        "1 of its weights belong to no part of the model and are not used: crf.transitions",
    ),
    "labels as a list": (lambda m: m.copy(id2label=list(LABELS)), None),
    "architectures as text": (lambda m: m.copy(architectures="BertForSequenceClassification"), None),
    "outputs as tuples": (lambda m: m.copy(return_dict=False, torchscript=True, output_hidden_states=True), None),
    "chunks": (lambda m: m.copy(chunk_size_feed_forward=7), None),
    "flash attention": (lambda m: m.copy(attn_implementation="flash_attention_2"), None),
    "data type": (lambda m: m.copy(dtype=ABSENT, torch_dtype="float99"), None),
    "harmless values": (
        lambda m: m.copy(
            pruned_heads={},
            position_embedding_type="absolute",
            is_decoder=False,
            adapters={"adapters": {}, "fusions": {}},
            finetuning_task="x",
            _num_labels=2,
        ),
        None,
    ),
    "byte-order mark": (
        lambda m: write(folder := m.copy(), "config.json", b"\xef\xbb\xbf" + (folder / "config.json").read_bytes()),
        None,
    ),
    "vocabulary with CRLF": (lambda m: vocabulary_only(m.copy(), "\r\n".join(VOCABULARY) + "\r\n"), None),
    "unknown tokenizer class": (
        lambda m: change_json(m.copy(), "tokenizer_config.json", tokenizer_class="MyTokenizer"),
        None,
    ),
    "options that replace those of the file": (
        lambda m: change_json(
            change_tokenizer(m.copy(), lambda content: content["normalizer"].update(lowercase=False)),
            "tokenizer_config.json",
            tokenizer_class="BertTokenizer",
            do_lower_case=True,
        ),
        None,
    ),
    "no limit of tokens": (lambda m: change_json(m.copy(), "tokenizer_config.json", model_max_length=1e30), None),
}
