"""The report: HTML, Markdown and tables."""
