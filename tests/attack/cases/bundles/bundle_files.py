"""Files of a bundle are added, removed or replaced: planted modules, edited lists of checksums, links, pipes."""

import os
import py_compile
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.attack.attack import PLANTED_CODE, Attack, Case, Command, Scratch
from tests.attack.cases.bundles.sealing import SUMS, seal, verify, verify_and_predict, write

TYPE = "files of a bundle"
SOURCE = "fp32"
LISTED = ("bundle.json", "config.json", "onnx/model.onnx", "predict.py", "tokenizer.json", "tokenizer_config.json")
READ = ("bundle.json", "onnx/model.onnx", "tokenizer.json", SUMS)  # by predict.py
PLANTED = (
    "numpy.py",
    "numpy/__init__.py",
    "numpy.pyc",
    "onnxruntime.py",
    "tokenizers/__init__.py",
    "json.py",
    "json/__init__.py",
    "argparse.py",
    "re.py",
    "pathlib.py",
    "typing.py",
    "io.py",
    "os.py",
    "hashlib.py",
    "contextlib.py",
    "collections/__init__.py",
    "reprlib.py",
    "_json.py",
    "locale.py",
    "gettext.py",
    "sitecustomize.py",
    "usercustomize.py",
    "onnx/__init__.py",
    "__main__.py",
    "__init__.py",
    "conftest.py",
    f"numpy.cpython-{sys.version_info.major}{sys.version_info.minor}-x86_64-linux-gnu.so",
)
ANY_FILE = (
    "model.bin",
    "onnx/model.onnx.data",
    "notes.txt",
    "a\nb.py",
    "\x1b[31m.py",
    "é.py",
    ".hidden.py",
    "x.egg-link",
)
OF_A_HUB = (
    ".gitattributes",
    ".git/config",
    ".git/hooks/post-checkout",
    ".cache/huggingface/.gitignore",
    "__pycache__/x.pyc",
)
IMPORTS = """
import sys
try:
    from predict import Classifier
    sys.stdout.write(str(Classifier({folder!r}).predict(["a film"])[0]))
except ValueError as error:  # BundleError
    sys.stderr.write(f"predict.py: {{error}}")
    sys.exit(2)
"""
HERE = IMPORTS.format(folder=".")
STARTS: dict[str, Callable[[Path], Command]] = {  # ways to start predict.py in which Python looks into its folder
    "script": lambda bundle: Command(script=bundle / "predict.py", words=["a film"], is_new_interpreter=True),
    "script-here": lambda bundle: Command(program=sys.executable, words=["predict.py", "a film"], folder="bundle"),
    "import": lambda bundle: Command(program=sys.executable, words=["-c", HERE], folder="bundle"),
}
NUMPY_STARTS: dict[str, Callable[[Path], Command]] = {
    "module": lambda bundle: Command(program=sys.executable, words=["-m", "predict", "a film"], folder="bundle"),
    "python-path": lambda bundle: Command(
        program=sys.executable,
        words=["-c", IMPORTS.format(folder=str(bundle))],
        environment={"PYTHONPATH": str(bundle)},
    ),
    "path": lambda bundle: Command(
        program=sys.executable,
        words=["-c", f"import sys; sys.path.insert(0, {str(bundle)!r})\n" + HERE],
        folder="bundle",
    ),
}


def attacks(seed: int) -> list[Attack]:
    """One attack per damage."""
    return [
        *[_planted(name, way, start) for name in PLANTED for way, start in STARTS.items()],
        *[_planted("numpy.py", way, start) for way, start in NUMPY_STARTS.items()],
        *[_attack(f"planted/any/{name!a}", partial(_plant, name=name)) for name in ANY_FILE],
        *[_attack(f"hub/{name}", partial(_plant, name=name), must_succeed=True) for name in OF_A_HUB],
        *[
            _attack(f"removed/{name}", partial(_remove, name=name), must_refuse=True)
            for name in LISTED
            if name != "predict.py"
        ],
        *[_attack(f"pipe/{name}", partial(_replace, name=name, make=os.mkfifo), must_refuse=True) for name in READ],
        *[_attack(f"folder/{name}", partial(_replace, name=name, make=os.mkdir), must_refuse=True) for name in READ],
        *[
            _attack(f"link/{name} to {target}", partial(_link, name=name, target=target), must_refuse=True)
            for name in READ
            for target in ("/dev/zero", "loop", "nowhere")
        ],
        *[_attack(f"sparse/{name}", partial(_grow, name=name), must_refuse=True) for name in READ],
        *[_attack(f"sums/{name}", change, must_refuse=name not in HARMLESS) for name, change in LISTS.items()],
        *[_attack(f"place/{name}", change) for name, change in PLACES.items()],
    ]


def _attack(name: str, change: Callable[[Path], object], **conditions: bool) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.copy(scratch.material.bundle(SOURCE), "bundle")
        change(bundle)
        return verify_and_predict(scratch, bundle, source=SOURCE, **conditions)

    return Attack(name=f"bundle-files/{name.replace('/', '-')}", type=TYPE, prepare=prepare, seconds=0.7)


def _planted(name: str, way: str, start: Callable[[Path], Command]) -> Attack:
    """`verify` must refuse the file, and predict.py must not run it, however it is started."""

    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.copy(scratch.material.bundle(SOURCE), "bundle")
        _plant(bundle, name=name)
        return Case(commands=[verify(bundle), start(bundle)], must_refuse=True)

    name_in_list = f"bundle-files/planted/{name.replace('/', '-')}/{way}"
    return Attack(name=name_in_list, type=TYPE, prepare=prepare, seconds=1.5)


def _plant(bundle: Path, *, name: str) -> None:
    path = bundle / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pyc":
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "x.py"
            source.write_text(PLANTED_CODE, encoding="utf-8")
            py_compile.compile(str(source), str(path), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    else:
        path.write_text(PLANTED_CODE, encoding="utf-8")


def _remove(bundle: Path, *, name: str) -> None:
    (bundle / name).unlink()


def _replace(bundle: Path, *, name: str, make: Callable[[Path], object]) -> None:
    _remove(bundle, name=name)
    make(bundle / name)


def _link(bundle: Path, *, name: str, target: str) -> None:
    _replace(bundle, name=name, make=lambda path: path.symlink_to(path.name if target == "loop" else target))


def _grow(bundle: Path, *, name: str) -> None:
    """Append zeros up to 8 GB, which take no space on the disk."""
    os.truncate(bundle / name, 8 * 10**9)


def _edit_sums(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    def edit(bundle: Path) -> None:
        lines = (bundle / SUMS).read_text(encoding="utf-8").splitlines()
        write(bundle / SUMS, "".join(f"{line}\n" for line in change(lines)))

    return edit


def _outside(path: str) -> Callable[[Path], object]:
    """A list that also names a file outside the bundle, with its right checksum."""

    def edit(bundle: Path) -> None:
        (bundle.parent / "outside.txt").write_text("x", encoding="utf-8")
        digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        line = f"{digest}  {path.format(folder=bundle.parent)}"
        _edit_sums(lambda lines: [*lines, line])(bundle)

    return edit


def _moved_outside(name: str) -> Callable[[Path], object]:
    """A listed file, or its folder, becomes a link to a copy outside the bundle."""

    def move(bundle: Path) -> None:
        shutil.move(bundle / name, bundle.parent / "outside")
        (bundle / name).symlink_to(bundle.parent / "outside")

    return move


HARMLESS = ("Windows line ends", "capital digits", "sorted backwards", "a line twice", "binary marks", "an empty line")
LISTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda bundle: write(bundle / SUMS, ""),
    "one empty line": lambda bundle: write(bundle / SUMS, "\n"),
    "missing": lambda bundle: _remove(bundle, name=SUMS),
    **{
        f"without {name}": _edit_sums(lambda lines, name=name: [line for line in lines if not line.endswith(name)])
        for name in LISTED
    },
    "only the card": _edit_sums(lambda lines: [line for line in lines if line.endswith("README.md")]),
    "parent folder": _outside("../outside.txt"),
    "absolute path": _outside("{folder}/outside.txt"),
    "back and forth": _edit_sums(lambda lines: [line.replace("  ", "  onnx/../") for line in lines]),
    "a dot before each": _edit_sums(lambda lines: [line.replace("  ", "  ./") for line in lines]),
    "/etc/passwd": _edit_sums(lambda lines: [*lines, f"{'0' * 64}  ../../../../../../etc/passwd"]),
    "itself": _edit_sums(lambda lines: [*lines, f"{'0' * 64}  {SUMS}"]),
    "a folder": _edit_sums(lambda lines: [*lines, f"{'0' * 64}  onnx"]),
    "a file that is not there": _edit_sums(lambda lines: [*lines, f"{'0' * 64}  more.bin"]),
    "two checksums of a file": _edit_sums(lambda lines: [f"{'0' * 64}  bundle.json", *lines]),
    "short checksums": _edit_sums(lambda lines: [line[8:] for line in lines]),
    "checksums alone": _edit_sums(lambda lines: [line[:64] for line in lines]),
    "one blank": _edit_sums(lambda lines: [line.replace("  ", " ") for line in lines]),
    "names alone": _edit_sums(lambda lines: [line[66:] for line in lines]),
    "a NUL": _edit_sums(lambda lines: [*lines, f"{'0' * 64}  a\0b"]),
    "an escape code": _edit_sums(lambda lines: [*lines, f"{'0' * 64}  \x1b[31mred"]),
    "a long name": _edit_sums(lambda lines: [*lines, f"{'0' * 64}  {'x' * 10**6}"]),
    "a million lines": _edit_sums(lambda lines: [*lines, *[f"{'0' * 64}  x{n}" for n in range(10**6)]]),
    "Latin-1": lambda bundle: write(bundle / SUMS, b"\xe9" * 64),
    "UTF-16": lambda bundle: write(bundle / SUMS, (bundle / SUMS).read_text(encoding="utf-8").encode("utf-16")),
    "LFS pointer": lambda bundle: write(bundle / SUMS, "version https://git-lfs.github.com/spec/v1\n"),
    "Windows line ends": _edit_sums(lambda lines: [f"{line}\r" for line in lines]),
    "capital digits": _edit_sums(lambda lines: [line[:64].upper() + line[64:] for line in lines]),
    "sorted backwards": _edit_sums(lambda lines: lines[::-1]),
    "a line twice": _edit_sums(lambda lines: [*lines, lines[0]]),
    "binary marks": _edit_sums(lambda lines: [line.replace("  ", " *") for line in lines]),
    "an empty line": _edit_sums(lambda lines: [*lines, ""]),
}


def _undecodable(bundle: Path) -> None:
    Path(os.fsdecode(os.fsencode(bundle) + b"/\xff\xfe.py")).write_text(PLANTED_CODE, encoding="utf-8")


def _many(bundle: Path) -> None:
    (bundle / "many").mkdir()
    for number in range(20_000):
        (bundle / "many" / f"{number}.txt").touch()


def _deep(bundle: Path) -> None:
    path = bundle / "/".join(["d"] * 400)
    path.mkdir(parents=True)
    (path / "x.py").write_text(PLANTED_CODE, encoding="utf-8")


def _linked_bundle(bundle: Path) -> None:
    bundle.rename(bundle.with_name("real"))
    bundle.symlink_to("real")


def _in_hub_cache(bundle: Path) -> None:
    """The layout of a Hub cache: each file is a link to a blob."""
    blobs = bundle.parent / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in bundle.rglob("*") if path.is_file())):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))


PLACES: dict[str, Callable[[Path], object]] = {
    "a name that is not UTF-8": _undecodable,
    "many files": _many,
    "a deep folder": _deep,
    "a link to the bundle": _linked_bundle,
    "a cache of the Hub": _in_hub_cache,
    "a sealed numpy.py": lambda bundle: (_plant(bundle, name="numpy.py"), seal(bundle)),
    "the model outside": _moved_outside("onnx/model.onnx"),
    "the tokenizer outside": _moved_outside("tokenizer.json"),
    "bundle.json outside": _moved_outside("bundle.json"),
    "the folder onnx outside": _moved_outside("onnx"),
    "an edited card": lambda bundle: write(bundle / "README.md", "# mine"),
    "no card": lambda bundle: _remove(bundle, name="README.md"),
    "an empty folder": lambda bundle: (bundle / "mine").mkdir(),
}
