"""bundle.json and its golden examples are damaged. SHA256SUMS is written again, so that only the content is wrong."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.attack.attack import Attack, Case, Scratch
from tests.attack.cases.bundles.sealing import Content, change_json, seal, verify, verify_and_predict, write

TYPE = "bundle.json, golden examples"
SOURCE = "fp32"
MANY_DIGITS = "9" * 5000  # more than Python converts to an integer
DEEP = "[" * 100_000
MISSING = object()


def attacks(seed: int) -> list[Attack]:
    """One attack per damage."""
    return [
        *[_attack(f"value/{name}", partial(_set, path, value)) for name, path, value in _values()],
        *[_attack(f"golden/{name}", change, must_refuse=True) for name, change in GOLDEN.items()],
        *[_attack(f"meaning/{name}", change, must_refuse=True, predicts=False) for name, change in MEANINGS.items()],
        *[_text_attack(name, change) for name, change in TEXTS.items()],
    ]


def _attack(
    name: str, change: Callable[[Content], object], *, must_refuse: bool = False, predicts: bool = True
) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.copy(scratch.material.bundle(SOURCE), "bundle")
        change_json(bundle / "bundle.json", change)
        seal(bundle)
        if not predicts:  # the answers do change; golden examples must show it
            return Case(commands=[verify(bundle)], must_refuse=must_refuse)
        return verify_and_predict(scratch, bundle, source=SOURCE, must_refuse=must_refuse)

    return Attack(name=f"bundle-json/{name}", type=TYPE, prepare=prepare, seconds=0.7)


def _text_attack(name: str, change: Callable[[str], str | bytes]) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.copy(scratch.material.bundle(SOURCE), "bundle")
        path = bundle / "bundle.json"
        write(path, change(path.read_text(encoding="utf-8")))
        seal(bundle)
        return verify_and_predict(scratch, bundle, source=SOURCE)

    return Attack(name=f"bundle-json/text/{name}", type=TYPE, prepare=prepare, seconds=0.7)


def _set(path: str, value: Any, content: Content) -> None:
    *outer, last = path.split(".")
    for key in outer:
        content = content[key]
    if value is MISSING:
        content.pop(last, None)
    else:
        content[last] = value


WRONG: dict[str, tuple[Any, ...]] = {
    "format_version": (0, 99, "1", 1.5, True, None, MISSING, [1], 10**30),
    "name": (5, "", "a\nb", "x" * 10**6, None, "\x1b[31m"),
    "variant": (5, "", "../fp32", "no-such", MISSING),
    "task_type": ("regression", "ranking", 5, None, MISSING, ["classification"]),
    "labels": ([], ["a"], ["a", "a"], ["a", 5], {"a": 0}, "ab", MISSING, ["a", "\ud800"], ["a"] * 10**5),
    "takes_pairs": (True, "no", 0, None, MISSING),
    "limits": (None, [], {}, 32, MISSING),
    "limits.max_length": (-1, 0, 1, 2**31, 2**63, 10**30, "32", None, True, [32], 32.5, float("nan"), MISSING),
    "limits.truncation_side": ("middle", None, 5, ""),
    "pad_token_id": (-1, 2**40, 10**30, "0", None, True, 0.5, MISSING),
    "split_special_tokens": (1, "yes", None),
    "saturates": (3, "no", None),
    "batch_invariant": ("yes", None, 1),
    "requires": ([], {"numpy": "99"}, {"numpy": None}, {"onnxruntime": MANY_DIGITS}, {"numpy": "1..2"}, "numpy"),
    "versions": ([], {"tokenizers": 5}, {"onnxruntime": MANY_DIGITS}, None),
    "measured": ([], {"x": "text"}, {"x": float("nan")}, {"a\nb|": 1}),
    "origin": ([], {"a": 5}, {"a|b": "\x1b[2J"}, None),
    "golden": (None, {}, "x", [None], [[]], MISSING),
    "proof": ([], {}, {"metric": "accuracy"}, {"metric": 5, "parity": []}),
    "recommended": ("yes", 2),
}


def _values() -> list[tuple[str, str, Any]]:
    return [(f"{path}/{index}", path, value) for path, values in WRONG.items() for index, value in enumerate(values)]


def _of_golden(change: Callable[[list[Content]], object]) -> Callable[[Content], object]:
    return lambda content: change(content["golden"])


def _shift(examples: list[Content], shift: float) -> None:
    for example in examples:
        first, second = example["probabilities"]
        moved = shift if first < second else -shift
        example["probabilities"] = [first + moved, second - moved]


def _swap_outputs(examples: list[Content]) -> None:
    outputs = [example["probabilities"] for example in examples]
    for example, output in zip(examples, [*outputs[1:], outputs[0]], strict=True):
        example["probabilities"] = output


def _set_first(key: str, value: Any) -> Callable[[Content], object]:
    return lambda content: content["golden"][0].update({key: value})


GOLDEN: dict[str, Callable[[Content], object]] = {
    "none": lambda content: content.update(golden=[]),
    "only one": lambda content: content.update(golden=content["golden"][:1]),
    "swapped outputs": _of_golden(_swap_outputs),
    "shifted by 0.05": _of_golden(lambda examples: _shift(examples, 0.05)),
    "shifted by 0.01": _of_golden(lambda examples: _shift(examples, 0.01)),
    "reversed outputs": _of_golden(lambda examples: [each["probabilities"].reverse() for each in examples]),
    "no outputs": _set_first("probabilities", []),
    "three outputs": _set_first("probabilities", [0.2, 0.3, 0.5]),
    "outputs as text": _set_first("probabilities", ["0.5", "half"]),
    "NaN": _set_first("probabilities", [float("nan"), float("nan")]),
    "infinite": _set_first("probabilities", [float("inf"), 0.0]),
    "beyond 1": _set_first("probabilities", [7.0, -6.0]),
    "outputs null": _set_first("probabilities", None),
    "text a number": _set_first("text", 5),
    "text null": _set_first("text", None),
    "another text": _of_golden(lambda examples: [each.update(text="the end") for each in examples]),
    "half a surrogate pair": _set_first("text", "\ud800"),
    "a pair": _set_first("pair", "a second text"),
    "a list as a pair": _set_first("pair", ["a"]),
}

MEANINGS: dict[str, Callable[[Content], object]] = {
    "labels swapped": lambda content: content["labels"].reverse(),
    "a label without a name": lambda content: content.update(labels=["x", ""]),
    "no words left": lambda content: content["limits"].update(max_length=2),
    "labels renamed": lambda content: content.update(labels=["x", "y"]),
    "shorter texts": lambda content: content["limits"].update(max_length=4),
    "the other end cut": lambda content: content["limits"].update(truncation_side="left"),
    "one more label": lambda content: content["labels"].append("third"),
}

TEXTS: dict[str, Callable[[str], str | bytes]] = {
    "empty": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "one brace less": lambda text: text.rstrip()[:-1],
    "a list": lambda text: "[]",
    "null": lambda text: "null",
    "a number": lambda text: "5",
    "text": lambda text: '"bundle"',
    "an empty object": lambda text: "{}",
    "deep lists": lambda text: DEEP,
    "deep objects": lambda text: '{"a":' * 100_000,
    "a deep value": lambda text: text.rstrip()[:-1] + ', "extra": ' + DEEP + "]" * 100_000 + "}",
    "many digits": lambda text: text.rstrip()[:-1] + f', "extra": {MANY_DIGITS}}}',
    "many digits as a limit": lambda text: text.replace('"max_length": 32', f'"max_length": {MANY_DIGITS}'),
    "an exponent": lambda text: text.replace('"max_length": 32', '"max_length": 1e400'),
    "NaN as a limit": lambda text: text.replace('"max_length": 32', '"max_length": NaN'),
    "the last of two keys": lambda text: text.rstrip()[:-1] + ', "format_version": 99}',
    "a second document": lambda text: text + text,
    "garbage at the end": lambda text: text + "\0\0\0",
    "byte-order mark": lambda text: "\ufeff" + text,
    "UTF-16": lambda text: text.encode("utf-16"),
    "Latin-1": lambda text: text.replace('"name": "', '"name": "é').encode("latin-1", errors="replace"),
    "web page": lambda text: "<!DOCTYPE html><title>404</title>",
    "LFS pointer": lambda text: "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    "30 MB": lambda text: text.rstrip()[:-1] + ', "extra": "' + "x" * 30_000_000 + '"}',
    "a million keys": lambda text: text.rstrip()[:-1] + "".join(f', "k{n}": 0' for n in range(10**6)) + "}",
    "a million golden examples": lambda text: json.dumps(
        {**json.loads(text), "golden": [{"text": "a", "pair": None, "probabilities": [1, 0]}] * 10**6}
    ),
    "a golden text of 10 MB": lambda text: json.dumps(
        {**json.loads(text), "golden": [{"text": "a " * 5_000_000, "pair": None, "probabilities": [1, 0]}]}
    ),
}
