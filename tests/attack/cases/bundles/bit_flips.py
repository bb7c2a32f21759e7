"""One bit of one file of a bundle is flipped. `verify` must refuse, and predict.py must not answer differently."""

import random

from tests.attack.attack import Attack, Case, Scratch
from tests.attack.cases.bundles.sealing import predict, verify
from tests.attack.material import PAIR, VARIANTS, flip_bit

TYPE = "bit flips in a bundle"
COUNT = 1000
NEW_INTERPRETERS = 50  # of these; the others are forked
FILES = (
    "bundle.json",
    "config.json",
    "onnx/model.onnx",
    "predict.py",
    "README.md",
    "SHA256SUMS",
    "tokenizer.json",
    "tokenizer_config.json",
)
NOT_SEALED = ("README.md", "SHA256SUMS")  # a change of the card, or of its line in the list, is only a warning


def attacks(seed: int) -> list[Attack]:
    """The flips, spread evenly over the files."""
    generator = random.Random(f"{seed} {TYPE}")
    return [_attack(index, generator.random()) for index in range(COUNT)]


def _attack(index: int, position: float) -> Attack:
    source = (*VARIANTS, PAIR)[index % 3]
    file = FILES[index % len(FILES)]

    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.copy(scratch.material.bundle(source), "bundle")
        path = bundle / file
        flip_bit(path, int(position * path.stat().st_size * 8))
        is_new = index % (COUNT // NEW_INTERPRETERS) == 0
        commands = [verify(bundle)]
        if file != "predict.py":  # Python itself runs a damaged predict.py
            commands.append(predict(scratch, bundle, source, is_new))
        return Case(commands=commands, check=None if file in NOT_SEALED else lambda ended: _accepted(ended[0].code))

    name = f"bit-flip/{file.replace('/', '-')}/{index}"
    return Attack(name=name, type=TYPE, prepare=prepare, seconds=0.5)


def _accepted(code: int) -> list[str]:
    return ["verify accepted the bundle"] if code == 0 else []
