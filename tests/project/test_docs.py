"""The documents are true: what they name exists, their links lead somewhere, and their recipes are recipes."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

import figures
from command_lines import commands, parse, pocketbert_words
from documents import BLOCK, DOCUMENTS, ROOT, blocks
from pocketbert.recipe.sections import Recipe

PACKAGES = ("pocketbert", "compress", "export", "bench")
MAKE_TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
EXTRAS = set(re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE))


def current(name: str) -> str:
    """A document; of the changelog, the section of this version: older ones name what there was."""
    text = DOCUMENTS[name]
    return text if name != "CHANGELOG.md" else "\n## ".join(text.split("\n## ")[:2])


def code_in(text: str) -> list[str]:
    """The code in a document: each line of its blocks, without its comment, and each span in backticks."""
    text = figures.REGION.sub("", text)
    lines = [
        line.partition("  #")[0].strip()
        for block in BLOCK.finditer(text)
        for line in block["text"].replace("\\\n", " ").splitlines()
    ]
    return [*lines, *(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text)))]


def options_of(command: typer.core.TyperCommand) -> set[str]:
    names = (name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts))
    return {"--help", "--debug", *names}


def named_command(code: str) -> str | None:
    """The words of the command that code begins with, such as `bench models`; None if it is no command of ours."""
    called = re.search(r"(?:^|[ /])pocketbert ([a-z][^|>]*)", code)
    if called is None:
        return None
    words, known = called[1].split(), commands()
    assert words[0] in known, code
    return " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]


AT_LEAST = {  # how much of each kind a document names: a loop below that sees less has a fault
    "README.md": {"commands": 14, "options": 5, "targets": 2, "extras": 4, "links": 9},
    "CONTRIBUTING.md": {"targets": 4, "paths": 40, "links": 10},
    "CHANGELOG.md": {"commands": 2},
    "docs/index.md": {"links": 15},
    "docs/guide.md": {"commands": 15, "options": 5, "extras": 1, "links": 20},
    "docs/python.md": {"links": 3},
    "docs/api.md": {"links": 2},
    "docs/recipe.md": {"commands": 8, "options": 8, "extras": 3, "links": 20},
    "docs/tables.md": {"commands": 2, "options": 4, "extras": 1, "links": 7},
    "docs/predict.md": {"commands": 8, "options": 10, "links": 6},
    "docs/variants.md": {"commands": 3, "options": 3, "paths": 0, "links": 6},
    "docs/serve.md": {"options": 10, "paths": 0, "links": 10},
    "docs/edge.md": {"commands": 3, "options": 4, "links": 6},
    "docs/interop.md": {"targets": 1, "links": 4},
    "docs/demo.md": {"commands": 2, "options": 2, "paths": 2, "links": 5},
    "docs/triton.md": {"commands": 3, "options": 8, "links": 6},
    "docs/method.md": {"paths": 3, "links": 1},
    "docs/attacks.md": {"targets": 2, "paths": 3, "links": 5},
    "docs/benchmark.md": {"commands": 8, "options": 6},
    "docs/provenance.md": {"commands": 8, "options": 10, "extras": 1, "links": 7},
    "docs/troubleshooting.md": {"commands": 7, "options": 6, "extras": 3, "links": 10},
    "results/README.md": {"commands": 14, "options": 30, "paths": 1, "links": 10},
}
OF_A_RUN = {"bench/samples.json", "results/gpu/"}  # in a run folder, or made by `make gpu`


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_names_is_there(name):
    """Commands and their options, targets of make, extras, and paths in the repository."""
    counts = dict.fromkeys(("commands", "options", "targets", "extras", "paths"), 0)
    path = re.compile(rf"(?:{'|'.join(PACKAGES)}|tests|results|docs|\.ci)/[\w/.<>-]*")
    known = commands()
    every_option = set.union(*map(options_of, known.values()))
    for code in code_in(current(name)):
        if (command := named_command(code)) is not None:
            options = set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", code.partition("pocketbert ")[2]))
            assert options <= options_of(known[command]), code
            counts["commands"] += 1
            counts["options"] += len(options)
        elif option := re.match(r"--[a-z][a-z0-9-]*", code):
            assert option[0] in every_option, code
            counts["options"] += 1
        elif target := re.match(r"make (\w+)$", code):
            assert target[1] in MAKE_TARGETS, code
            counts["targets"] += 1
        elif path.fullmatch(code) and code not in OF_A_RUN:
            inside = [*ROOT.glob(code.replace("<name>", "*")), *(ROOT / name).parent.glob(code.replace("<name>", "*"))]
            assert inside, code
            counts["paths"] += 1
        for extra in re.findall(r"\.\[([\w,-]+)\]", code):
            assert set(extra.split(",")) <= EXTRAS, code
            counts["extras"] += 1
    counts["links"] = len(links(current(name)))
    assert {kind: counts[kind] for kind, least in AT_LEAST[name].items() if counts[kind] < least} == {}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_command_lines_of_a_document_parse(name):
    """Whole lines, by the command's own parser; without what a line leaves out with `...` or names with a variable."""
    for line in code_in("".join(f"```sh\n{text}```\n" for text in blocks(name, "sh"))):
        line = re.sub(r" \$[A-Z]+| \.\.\.", "", line.replace('"$GENERAL"', "KEY=VALUE"))
        for words in pocketbert_words(line):
            parse(words)


def links(text: str) -> list[str]:
    """The targets of a document's links that are no web addresses."""
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", BLOCK.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_a_file_and_to_a_heading(name):
    for link in links(DOCUMENTS[name]):
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_recipes_of_the_documents_are_recipes():
    whole, *parts = (YAML(typ="safe", pure=True).load(text) for text in blocks("docs/recipe.md", "yaml"))
    assert Recipe.model_validate(whole).student.preset == "tinybert4"
    assert len(parts) == 4
    for part in parts:
        assert Recipe.model_validate({**whole, **part})


def test_the_tree_is_the_one_on_disk():
    """Every module and folder of the source, in the order of the tree, and nothing else."""
    (tree,) = [text for text in blocks("CONTRIBUTING.md", "") if text.startswith("compress/")]
    named, parents = set(), list[str]()
    for line in tree.splitlines():
        indent, entry, about = re.fullmatch(r"( *)(\S+)  +(\S.*)", line).groups()
        parents = [*parents[: len(indent) // 2], entry]
        assert len(line) <= 90 and about, line
        named.add("".join(parents) + ("" if entry.endswith("/") else ".py"))
    on_disk = {
        path.relative_to(ROOT).as_posix() + ("/" if path.is_dir() else "")
        for package in PACKAGES
        for path in (ROOT / package, *(ROOT / package).rglob("*"))
        if (path.suffix == ".py" and not path.stem.startswith("__")) or (path / "__init__.py").is_file()
    }
    assert named - on_disk == {"docs/", "results/", "tests/"} and on_disk <= named, on_disk ^ named
    assert len(on_disk) > 150


def defined_in(path: Path) -> set[str]:
    """The names that a file defines: classes, functions, variables, fields and attributes."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                names.add(node.name)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Attribute(ctx=ast.Store()):
                names.add(node.attr)
    return names


def instructions() -> Iterator[tuple[str, list[str]]]:
    """Each step and paragraph of CONTRIBUTING from the first extension on, with the spans of code in it."""
    _, text = DOCUMENTS["CONTRIBUTING.md"].split("## Add a variant\n")
    for part in re.split(r"\n\n|\n(?=\d+\. |- )", BLOCK.sub("", text)):
        yield part, [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", part)]


def undefined_names(spans: Sequence[str]) -> set[str]:
    """The names that no Python file of the step defines; if it names no file, that no file of the source defines."""
    files = [path for span in spans if span.endswith(".py") for path in ROOT.glob(span.replace("<name>", "*"))]
    files = files or [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {span for span in spans if re.fullmatch(r"\w+", span)} - set.union(*map(defined_in, files))


def test_the_names_in_the_instructions_are_defined_in_the_files_that_they_name():
    """Names that a step sets as code are classes, functions, constants or fields of its files."""
    names = {span for _, spans in instructions() for span in spans if re.fullmatch(r"\w+", span)}
    assert len(names) > 60
    undefined = {name: part for part, spans in instructions() for name in undefined_names(spans)}
    assert set(undefined) == {"REGIONS"}, undefined  # in every module of docs/regions


@pytest.mark.parametrize(
    ("step", "undefined"),
    [
        (["bench/timing/engines.py", "load_runner"], set()),
        (["bench/timing/engines.py", "load"], {"load"}),  # a word in the file, but no definition
        (["bench/plots/report_plots.py", "_marker"], {"_marker"}),  # defined in another file
        (["compress/distillation/objective.py", "requested_outputs", "reads"], {"reads"}),
        (["load_runner", "no_such_name"], {"no_such_name"}),
    ],
)
def test_a_wrong_name_in_a_step_is_noticed(step, undefined):
    assert undefined_names(step) == undefined


def wording() -> str:
    """Every string in the source, f-strings with `...` for their values, one per line."""
    strings = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                    strings.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    strings.append(node.value)
    return "\n".join(strings)


NOT_OURS = {  # messages of other programs
    "Unrecognized attribute: bits for operator GatherBlockQuantized",
    "... is not a registered function/op",
}


def test_the_messages_that_troubleshooting_quotes_are_those_of_the_source():
    """Each part of a quoted message between its `...`, in one string of the source."""
    known = wording()
    text = " ".join(DOCUMENTS["docs/troubleshooting.md"].split())
    messages = {span for entry in re.findall(r"- \*\*(.+?)\*\*", text) for span in re.findall(r"`([^`]+)`", entry)}
    messages = {message for message in messages if " " in message and not message.startswith("pocketbert ")}
    assert len(messages) > 40 and messages >= NOT_OURS
    for message in messages - NOT_OURS:
        parts = [part.strip() for part in message.split("...") if part.strip(" :;,.")]
        assert parts and all(part in known for part in parts), message
