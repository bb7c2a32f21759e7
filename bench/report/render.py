"""Renders results as a self-contained HTML file and a Markdown file."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.plots.style import css_variables
from bench.report import table
from bench.report.page import Lines, ReportPage, page_of
from bench.report.section import as_markdown
from bench.results.document import Results
from compress.common import escaping
from compress.common.files import write_text

TEMPLATE = "report.html.j2"
BREAK_POINT = 780  # width of the page below which it shows the narrow drawings


def write_reports(results: Results, folder: Path) -> None:
    """Write report.html and report.md of a run (or of a benchmark without a run) into `folder`."""
    page = page_of(results)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.html", html_of(page))
    write_text(folder / "report.md", markdown_of(page))


def template_environment() -> Environment:
    """The environment of the template, in which a name that the page lacks is an error."""
    environment = Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        finalize=_for_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        light_plots=css_variables(dark=False), dark_plots=css_variables(dark=True), break_point=f"{BREAK_POINT}px"
    )
    return environment


def _for_page(value: object) -> object:
    """A value of the page as HTML. Only our own drawings are markup."""
    return Markup(escaping.html(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def html_of(page: ReportPage) -> str:
    """The page as one HTML file that loads nothing else."""
    return template_environment().get_template(TEMPLATE).render(page=page)


def markdown_of(page: ReportPage) -> str:
    """The page as Markdown, without its plots."""
    text = escaping.markdown
    parts = [f"# {text(page.name)}", *(f"**{text(tile.figure)}** {text(tile.what)}  " for tile in page.tiles)]
    if page.gate:
        parts += ["## Not shipped", *_items(page.gate)]
    if page.caveats:
        parts += ["## Caveats", *_items(page.caveats)]
    if page.remarks:
        parts += ["## About the data", *_items(page.remarks)]
    parts += ["## Benchmark", text(page.method), "", table.markdown(page.rows)]
    parts += as_markdown(page.sections)
    if page.parity is not None:
        parts += ["## Exported variants compared with the torch student", "", table.markdown(page.parity.table), ""]
        parts += _facts(page.parity.meanings)
        for variant in page.parity.explained:
            parts += ["", f"**{text(variant.title)}**", "", *_items(variant.sentences)]
    if page.training.cells:
        parts += ["## Training", "", table.markdown(page.training)]
        if page.after_stages.cells:
            parts += ["", table.markdown(page.after_stages)]
    if page.augmentation:
        parts += ["## Data augmentation", "", *_facts(page.augmentation)]
    if page.use:
        parts += ["## Use the bundle", "", escaping.markdown_code("\n".join(page.use))]
    if page.reproduce is not None:
        parts += ["## Reproduce", text(page.reproduce.words), "", escaping.markdown_code(page.reproduce.command)]
        if page.reproduce.recipe:
            parts += ["", escaping.markdown_code(page.reproduce.recipe.rstrip(), "yaml")]
    parts += ["## Machine", *_facts(page.machine)]
    if page.choices.cells:
        parts += ["## Chosen automatically", "", table.markdown(page.choices, numbers=False)]
    if page.advice:
        parts += ["## What to try next", ""]
        for number, (sentence, options) in enumerate(page.advice, start=1):
            parts += [f"{number}. {text(sentence)}", "", f"       {escaping.one_line(options)}", ""]
    return "\n".join(parts).rstrip("\n") + "\n"


def _items(sentences: Sequence[str]) -> list[str]:
    return [f"- {escaping.markdown(sentence)}" for sentence in sentences]


def _facts(facts: Lines) -> list[str]:
    return _items([f"{name}: {value}" for name, value in facts])
