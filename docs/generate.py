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
    """Return the help of every command as Markdown, with its examples at the end of its section."""
    from pixelwise.cli.app import EXAMPLES, app

    text: str = app.generate_docs()
    # cyclopts' table of contents repeats the list of commands, which has their descriptions as well.
    text = re.sub(r"## Table of Contents\n\n(- .*\n)+\n", "", text)
    start, *sections = re.split(r"^(?=## )", text.replace("# pixelwise\n", "# Command line\n", 1), flags=re.MULTILINE)
    sections.sort(key=lambda section: section.startswith("## pixelwise --"))  # stable: flags after commands
    for index, section in enumerate(sections):
        lines = EXAMPLES.get(section.partition("\n")[0].removeprefix("## pixelwise "), ())
        if lines:
            block = "\n".join(["**Examples**:", "", "```console", *lines, "```", ""])
            sections[index] = f"{section.rstrip()}\n\n{block}\n"
    return start + "".join(sections)


def settings_page() -> str:
    """Return a table of all settings for each group of the command line's help, and one of all components."""
    from pixelwise.config import Config

    lines = [
        "# Settings",
        "",
        "The fields of `pixelwise.Config`. They are arguments of `pw.train`, keys of `config.yaml` and `plan.yaml`, "
        "and flags of `pixelwise train`. A component is a name, or a mapping with a name and parameters.",
    ]
    group = None
    for name, field in Config.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        if extra["group"] != group:
            group = extra["group"]
            lines += ["", f"## {group}", "", "| setting | default | meaning |", "| --- | --- | --- |"]
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join([*lines, "", *component_lines()]) + "\n"


def component_lines() -> list[str]:
    """Return the registered components with their parameters and defaults, as Markdown."""
    from pixelwise.data.augmentations import AUGMENTATIONS
    from pixelwise.losses import LOSSES
    from pixelwise.metrics import METRICS
    from pixelwise.models.decoders import DECODERS
    from pixelwise.models.pretrained import PRETRAINED_SOURCES
    from pixelwise.training.callbacks import CALLBACKS
    from pixelwise.training.loggers import LOGGERS

    registries = {
        "augmentation": AUGMENTATIONS,
        "encoder_weights": PRETRAINED_SOURCES,
        "decoder": DECODERS,
        "loss": LOSSES,
        "callbacks": CALLBACKS,
        "loggers": LOGGERS,
        "metrics (of evaluate)": METRICS,
    }
    lines = ["## Components", "", "| setting | name | parameters |", "| --- | --- | --- |"]
    for setting, registry in registries.items():
        for name in registry:
            fields = registry[name].params.model_fields.items()
            parameters = ", ".join(
                f"`{key}`" if field.is_required() else f"`{key}={field.default}`" for key, field in fields
            )
            lines.append(f"| {setting} | `{name}` | {parameters} |")
    return lines


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
        "settings.md": settings_page(),
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
