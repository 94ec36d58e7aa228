"""Write the pages of the site that are made from other files: docs/generated/.

The command-line reference comes from the commands themselves, the tutorial from the notebook with its outputs, the
changelog and the contributing page from the repository's root.
"""

import re
import shutil
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = DOCS / "generated"


def command_line_page() -> str:
    """Return the help of every command as Markdown."""
    from pixelwise.cli.app import app

    text: str = app.generate_docs()
    # cyclopts' table of contents repeats the list of commands, which has their descriptions as well.
    text = re.sub(r"## Table of Contents\n\n(- .*\n)+\n", "", text)
    return text.replace("# pixelwise\n", "# Command line\n", 1)


def tutorial_page() -> tuple[str, dict[str, bytes]]:
    """Return the notebook as Markdown, and its images by file name."""
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    return text, resources["outputs"]


def root_page(name: str) -> str:
    """Return a page of the repository's root with its links changed to those of the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](../", text)
    return text.replace("](CONTRIBUTING.md", "](contributing.md").replace("](CHANGELOG.md", "](changelog.md")


def main() -> None:
    """Write all pages anew."""
    tutorial, images = tutorial_page()
    pages = {
        "cli.md": command_line_page(),
        "tutorial.md": tutorial,
        "changelog.md": root_page("CHANGELOG.md"),
        "contributing.md": root_page("CONTRIBUTING.md"),
    }
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    for name, text in pages.items():
        (PAGES / name).write_text(text, encoding="utf-8")
    for name, content in images.items():
        (PAGES / name).write_bytes(content)


if __name__ == "__main__":
    main()
