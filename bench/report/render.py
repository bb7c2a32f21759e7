"""Renders results as a self-contained HTML file and a Markdown file."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.plots.style import css_variables
from bench.report import table
from bench.report.page import ReportPage, page_of
from bench.report.section import as_markdown
from bench.results.document import Results
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
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        light_plots=css_variables(dark=False), dark_plots=css_variables(dark=True), break_point=f"{BREAK_POINT}px"
    )
    return environment


def html_of(page: ReportPage) -> str:
    """The page as one HTML file that loads nothing else."""
    return template_environment().get_template(TEMPLATE).render(page=page)


def markdown_of(page: ReportPage) -> str:
    """The page as Markdown, without its plots."""
    parts = [f"# {page.name}", *(f"**{tile.figure}** {tile.what}  " for tile in page.tiles)]
    if page.gate:
        parts += ["## Not shipped", *(f"- {line}" for line in page.gate)]
    if page.caveats:
        parts += ["## Caveats", *(f"- {line}" for line in page.caveats)]
    if page.remarks:
        parts += ["## About the data", *(f"- {line}" for line in page.remarks)]
    parts += ["## Benchmark", page.method, "", table.markdown(page.rows)]
    parts += as_markdown(page.sections)
    if page.parity is not None:
        parts += ["## Exported variants compared with the torch student", "", table.markdown(page.parity.table), ""]
        parts += [f"- {column}: {meaning}" for column, meaning in page.parity.meanings]
        for variant in page.parity.explained:
            parts += ["", f"**{variant.title}**", "", *(f"- {sentence}" for sentence in variant.sentences)]
    if page.training.cells:
        parts += ["## Training", "", table.markdown(page.training)]
        if page.after_stages.cells:
            parts += ["", table.markdown(page.after_stages)]
    if page.augmentation:
        parts += ["## Data augmentation", "", *(f"- {what}: {value}" for what, value in page.augmentation)]
    if page.use:
        parts += ["## Use the bundle", "", "```", *page.use, "```"]
    if page.reproduce is not None:
        parts += ["## Reproduce", page.reproduce.words, "", "```", page.reproduce.command, "```"]
        if page.reproduce.recipe:
            parts += ["", "```yaml", page.reproduce.recipe.rstrip(), "```"]
    parts += ["## Machine", *(f"- {what}: {value}" for what, value in page.machine)]
    if page.choices.cells:
        parts += ["## Chosen automatically", "", table.markdown(page.choices, numbers=False)]
    if page.advice:
        parts += ["## What to try next", ""]
        for number, (sentence, options) in enumerate(page.advice, start=1):
            parts += [f"{number}. {sentence}", "", f"       {options}", ""]
    return "\n".join(parts).rstrip("\n") + "\n"
