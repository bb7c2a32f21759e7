"""Results in which every text and every key holds characters that some output could act on."""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from bench.results.document import Results
from example_results import RESULTS

HOSTILE = (
    "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">\"'`$x$ $$ </style>]]>-->"
    "\x1b[31m\x9b31m\x07\x7f\u202e\u2028\n# heading\n- item\r| cell | [link](http://example.org) [red]x[/red] [/] "
    "{{ x }} &lt;b&gt; *b* _i_ ~~s~~ \\"
)
PARSED = ("grid", "by_shape", "by_input", "by_count", "profiles", "recipe", "changes")  # texts that have a syntax
_ADAPTER = TypeAdapter(Results)


def hostile_results(text: str = HOSTILE) -> Results:
    """The example results with `text` behind every string, and behind every key that is free."""
    content = to_jsonable_python(RESULTS)
    for change in list(_changes(content, text)):
        undo = change()
        try:
            _ADAPTER.validate_python(content)
        except ValidationError:
            undo()
    return _ADAPTER.validate_python(content)


def _changes(node: Any, text: str) -> Iterator[Callable[[], Callable[[], None]]]:
    """For each string, deepest first: a function that appends the text and returns one that undoes it."""
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
    for key, value in items:
        if any(part in str(key) for part in PARSED):
            continue
        if isinstance(value, dict | list):
            yield from _changes(value, text)
        elif isinstance(value, str):
            yield lambda key=key, value=value: _set(node, key, value, value + text)
    if isinstance(node, dict):
        yield lambda: _set_keys(node, {key: f"{key}{text}" for key in node})


def _set(node: Any, key: Any, before: Any, after: Any) -> Callable[[], None]:
    node[key] = after
    return lambda: node.update({key: before}) if isinstance(node, dict) else node.__setitem__(key, before)


def _set_keys(node: dict[str, Any], names: dict[str, str]) -> Callable[[], None]:
    before = dict(node)
    node.clear()
    node.update({names[key]: value for key, value in before.items()})

    def undo() -> None:
        node.clear()
        node.update(before)

    return undo
