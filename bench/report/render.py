"""The report: results in, one self-contained HTML file and a Markdown file out."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.report import table
from bench.report.page import ReportPage, page_of
from bench.report.section import as_markdown
from bench.results.document import Results
from compress.common.files import write_text

TEMPLATE = "report.html.j2"


def write_reports(results: Results, folder: Path) -> None:
    """Write report.html and report.md of a run (or of a benchmark alone) into `folder`."""
    page = page_of(results)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.html", html_of(page))
    write_text(folder / "report.md", markdown_of(page))


def template_environment() -> Environment:
    """Where the template lies, and how it is rendered: a name that the page lacks is an error."""
    return Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html_of(page: ReportPage) -> str:
    """One file that loads nothing else."""
    return template_environment().get_template(TEMPLATE).render(page=page)


def markdown_of(page: ReportPage) -> str:
    """The page without its plots."""
    parts = [f"# {page.name}", *(f"**{tile.figure}** {tile.what}  " for tile in page.tiles)]
    if page.gate:
        parts += ["## Not shipped", *(f"- {line}" for line in page.gate)]
    if page.cautions:
        parts += ["## Before you believe it", *(f"- {line}" for line in page.cautions)]
    if page.remarks:
        parts += ["## About the data", *(f"- {line}" for line in page.remarks)]
    parts += ["## Side by side", page.method, "", table.markdown(page.rows)]
    parts += as_markdown(page.sections)
    if page.parity is not None:
        parts += ["## Exported variants against the torch student", "", table.markdown(page.parity.table), ""]
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
        parts += ["## Use it", "", "```", *page.use, "```"]
    if page.reproduce is not None:
        parts += ["## Make it again", page.reproduce.words, "", "```", page.reproduce.command, "```"]
        if page.reproduce.recipe:
            parts += ["", "```yaml", page.reproduce.recipe.rstrip(), "```"]
    parts += ["## Measured on", *(f"- {what}: {value}" for what, value in page.machine)]
    return "\n".join(parts) + "\n"
