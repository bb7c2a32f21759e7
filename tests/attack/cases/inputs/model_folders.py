"""Hostile model folders: impossible sizes, damaged weights, odd tokenizers, pipes and code."""

import json
import os
import pickle
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.attack.attack import PLANTED_CODE, Attack, Case, Command, Finished, Scratch
from tests.attack.build import write_recipe
from tests.attack.material import flip_bit, truncate

TYPE = "model folders"
NUM_VALUES = 30
VALUES: tuple[Any, ...] = (None, True, -1, 0, 3, 10**9, 10**30, 0.5, float("nan"), "", "text", "\x1b[31m", [], {}, [[]])
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def attacks(seed: int) -> list[Attack]:
    """Damaged files, single values of config.json and of the tokenizer, and sizes."""
    return [
        *[_attack(f"{file}/{name}", _of(file, damage)) for file in FILES for name, damage in ANY.items()],
        *[_attack(f"config.json/size/{number}", _sizes(sizes)) for number, sizes in enumerate(SIZES)],
        *[_attack(f"value/{number}", _value(f"{seed} {number}")) for number in range(NUM_VALUES)],
        *[_attack(f"weights/{name}", _of("model.safetensors", damage)) for name, damage in WEIGHTS.items()],
        *[_attack(f"folder/{name}", damage) for name, damage in FOLDERS.items()],
    ]


def _attack(name: str, damage: Callable[[Path], object]) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        model = scratch.copy(scratch.material.models / "teacher", "model")
        damage(model)
        recipe = write_recipe(scratch.material, scratch.root / "r.yaml", teacher={"model": str(model)})
        until = ["--until", "teacher", "--output", "run"]
        export = ["export", model, "--data", scratch.material.reviews, "--variant", "fp32", "--output", "out"]
        commands = [
            Command(words=["check", recipe]),
            Command(words=["run", recipe, *until]),
            Command(words=export),
        ]
        return Case(commands=commands, owned=["cache", "run", "out"], check=_checked_as_run)

    return Attack(name=f"model/{name}", type=TYPE, prepare=prepare, seconds=5)


def _checked_as_run(ended: Sequence[Finished]) -> list[str]:
    check, run, _ = ended
    return ["check accepts what run refuses"] if check.code == 0 and run.code == 2 else []


def _of(file: str, damage: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda model: damage(model / file)


ANY: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: truncate(path, 0),
    "half": lambda path: truncate(path, 0.5),
    "nearly whole": lambda path: truncate(path, 0.99),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "flipped at the start": lambda path: flip_bit(path, 70),
    "garbage at the end": lambda path: path.write_bytes(path.read_bytes() + b"\0garbage"),
    "deep": lambda path: path.write_text('{"a":' * 100_000),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link to zeros": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "8 GB": lambda path: os.truncate(path, 8 * 10**9),
}
SIZES: tuple[dict[str, Any], ...] = (
    {"num_hidden_layers": 10**6},
    {"num_hidden_layers": 900},
    {"hidden_size": 2**20, "num_attention_heads": 1},
    {"hidden_size": 2**40, "num_attention_heads": 2},
    {"intermediate_size": 2**40},
    {"vocab_size": 2**40},
    {"vocab_size": 10**8},
    {"max_position_embeddings": 2**40},
    {"max_position_embeddings": 10**7},
    {"type_vocab_size": 2**40},
    {"type_vocab_size": 10**8},
    {"num_hidden_layers": 1000, "hidden_size": 2**15, "intermediate_size": 2**17, "num_attention_heads": 1},
    {"num_attention_heads": 2**31},
    {"id2label": {str(number): f"label {number}" for number in range(10**6)}},
    {"num_labels": 10**9, "id2label": None, "label2id": None},
    {"id2label": {"0": "x" * 10**6, "1": "b"}},
    {"id2label": {"0": "\x1b[31ma", "1": "<script>b"}},
    {"id2label": {"0": "a\nb", "1": ""}},
    {"id2label": {"0": "a", "1": "\ud800"}},
    {"chunk_size_feed_forward": 10**30},
    {"hidden_act": "__import__('os').system('touch harmed')"},
    {"model_type": "../../bert"},
    {"architectures": ["os.system"]},
    {"auto_map": {"AutoConfig": "configuration_x.X", "AutoModelForSequenceClassification": "modeling_x.X"}},
    {"problem_type": "multi_label_classification"},
    {"_name_or_path": "\x1b[31m/etc/passwd"},
    {"extra": "x" * 30_000_000},
    {"initializer_range": 1e300},
    {"layer_norm_eps": 1e300},
    {"pad_token_id": 2**31},
)


def _sizes(sizes: dict[str, Any]) -> Callable[[Path], object]:
    return lambda model: _change(model / "config.json", lambda content: content.update(sizes))


def _change(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _value(seed: str) -> Callable[[Path], object]:
    """One value of one JSON file, at any depth, is replaced by a hostile one."""

    def damage(model: Path) -> None:
        generator = random.Random(seed)
        path = model / generator.choice(("config.json", "tokenizer.json", "tokenizer_config.json"))
        content = json.loads(path.read_text(encoding="utf-8"))
        holder = content
        while isinstance(inner := generator.choice(list(holder.values())), dict) and inner:
            holder = inner
        holder[generator.choice(list(holder))] = generator.choice(VALUES)
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def _header(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change the header of a safetensors file: its length in 8 bytes, then JSON."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        encoded = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])

    return damage


def _first(header: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = header[sorted(name for name in header if name != "__metadata__")[0]]
    return entry


def _with_length(length: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])


def _fill(value: float) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        from safetensors.numpy import load_file, save_file

        weights = load_file(path)
        save_file({name: np.full_like(array, value) for name, array in weights.items()}, path, {"format": "pt"})

    return damage


WEIGHTS: dict[str, Callable[[Path], object]] = {
    "a header of 8 exabytes": _with_length(2**63 - 1),
    "a negative header": _with_length(2**64 - 1),
    "a header longer than the file": _with_length(10**8),
    "a header of nothing": _with_length(0),
    "a header cut off": _with_length(20),
    "offsets beyond the end": _header(lambda header: _first(header).update(data_offsets=[0, 2**40])),
    "offsets backwards": _header(lambda header: _first(header).update(data_offsets=[100, 0])),
    "offsets negative": _header(lambda header: _first(header).update(data_offsets=[-8, 8])),
    "offsets that overlap": _header(
        lambda header: [each.update(data_offsets=[0, 4]) for each in list(header.values())[1:]]
    ),
    "a shape too large": _header(lambda header: _first(header).update(shape=[2**40, 2**20])),
    "a shape of nothing": _header(lambda header: _first(header).update(shape=[0])),
    "an unknown type": _header(lambda header: _first(header).update(dtype="F1000")),
    "another type": _header(lambda header: _first(header).update(dtype="I32")),
    "a name with an escape code": _header(lambda header: header.update({"\x1b[31mx": header.pop(max(header))})),
    "no weights": _header(lambda header: header.clear()),
    "metadata a list": _header(lambda header: header.update({"__metadata__": []})),
    "NaN": _fill(float("nan")),
    "infinite": _fill(float("inf")),
    "zero": _fill(0.0),
    "huge": _fill(1e38),
}


class _Planted:
    """What a pickle does when it is loaded: it runs the planted code."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (PLANTED_CODE,)


def _as_pickle(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(_Planted()))


def _planted_modules(model: Path) -> None:
    for name in ("modeling_bert.py", "configuration_bert.py", "tokenization_bert.py", "modeling_x.py", "__init__.py"):
        (model / name).write_text(PLANTED_CODE, encoding="utf-8")


def _shards(files: dict[str, str]) -> Callable[[Path], object]:
    def damage(model: Path) -> None:
        (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
        (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}), encoding="utf-8")

    return damage


def _many_files(model: Path) -> None:
    for number in range(20_000):
        (model / f"shard-{number}.txt").touch()


FOLDERS: dict[str, Callable[[Path], object]] = {
    "a harmful pickle": _as_pickle,
    "planted modules": _planted_modules,
    "planted modules with auto_map": lambda model: (
        _planted_modules(model),
        _change(model / "config.json", lambda content: content.update(auto_map={"AutoConfig": "modeling_x.X"})),
    ),
    "a shard elsewhere": _shards({"classifier.bias": "../../../etc/passwd"}),
    "a shard at an absolute path": _shards({"classifier.bias": "/etc/passwd"}),
    "a shard that is a pipe": _shards({"classifier.bias": "pipe"}),
    "an index of a million names": _shards(
        {f"n{number}": "model-00001-of-00001.safetensors" for number in range(10**6)}
    ),
    "a chat template": lambda model: (model / "chat_template.jinja").write_text("{{ ''.__class__.__mro__ }}"),
    "many files": _many_files,
    "a name with an escape code": lambda model: (model / "\x1b[31mred.bin").touch(),
    "a loop of folders": lambda model: (model / "loop").symlink_to(model, target_is_directory=True),
    "a name that is not UTF-8": lambda model: Path(os.fsdecode(os.fsencode(model) + b"/\xff.bin")).touch(),
}
