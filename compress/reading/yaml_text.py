"""Reads YAML within limits, so that a small text cannot take minutes or gigabytes."""

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from compress.common.errors import UserError

MOST_BYTES = 250_000
MOST_VALUES = 5000  # keys and sections count too; an alias counts as often as it is used
MOST_DIGITS = 100
MOST_LEVELS = 20


def parse_yaml(content: bytes, *, where: str, advice: str = "") -> tuple[Node | None, Any]:
    """The tree of a YAML 1.2 text with its positions, and its plain values. Raises UserError.

    Tags never run code: a tag that stands for no plain value is refused. Of repeated keys the first counts; the tree
    has all of them. `where`: the beginning of every message. `advice`: the end of those about damaged text.
    """
    advice = f"; {advice}" if advice else ""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not readable as YAML: not UTF-8 text (byte {error.start}){advice}") from error
    yaml = YAML(typ="safe", pure=True)  # libyaml, if installed, would read YAML 1.1: `no` as false
    yaml.allow_duplicate_keys = True  # the caller reports all of them
    yaml.Composer = _LimitedComposer
    try:
        root = yaml.compose(text)
        if root is None:
            return None, None
        _num_values(root, {}, set())
        return root, yaml.constructor.construct_document(root)
    except _LimitError as error:
        line = f", line {error.line}" if error.line else ""
        raise UserError(f"{where}{line}: {error}") from None
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        hint = "; indent with spaces, not tabs" if "\\t" in str(error.problem) else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{where}{line}: not readable as YAML: {problem}{hint}{advice}") from error
    except MemoryError:
        raise
    except Exception as error:  # the library raises many classes
        reason = " ".join(str(error).split()) or "no reason given"
        raise UserError(f"{where}: not readable as YAML: {reason}{advice}") from error


class _LimitError(Exception):
    """A text exceeds a limit. `line`: where; None if no line is at fault."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


class _LimitedComposer(Composer):
    """Stops at the first node over a limit: the library takes long for large texts, and recurses into deep ones."""

    num_nodes = level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.num_nodes += 1
        self.level += 1
        if self.num_nodes > MOST_VALUES:
            raise _too_many()
        if self.level > MOST_LEVELS:
            line = self.parser.peek_event().start_mark.line + 1
            raise _LimitError(f"nested too deeply; expected at most {MOST_LEVELS} levels", line)
        node = super().compose_node(parent, index)
        self.level -= 1
        return node


def _num_values(node: Node, known: dict[int, int], open_nodes: set[int]) -> int:
    """The number of nodes from this one down, with every alias expanded. Raises _LimitError for too many."""
    line = node.start_mark.line + 1
    if id(node) in open_nodes:
        raise _LimitError("an alias refers to a value that contains it", line)
    if isinstance(node, ScalarNode) and str(node.tag).endswith((":int", ":float")) and len(node.value) > MOST_DIGITS:
        raise _LimitError(f"got a number of {len(node.value):,} digits; expected at most {MOST_DIGITS}", line)
    if id(node) not in known:
        open_nodes.add(id(node))
        known[id(node)] = 1 + sum(_num_values(inner, known, open_nodes) for inner in _inner_nodes(node))
        open_nodes.remove(id(node))
    if known[id(node)] > MOST_VALUES:
        raise _too_many()
    return known[id(node)]


def _inner_nodes(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value


def _too_many() -> _LimitError:
    return _LimitError(f"too many values; expected at most {MOST_VALUES:,} keys and values, aliases expanded")
