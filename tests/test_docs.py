"""Tests of README.md and docs/: commands parse, Python blocks run, quoted messages exist, references are complete."""

import ast
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.cli.app import COMMANDS, app
from pixelwise.data.demo.synthetic import draw_dataset
from pixelwise.registry import Registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in DOCS.rglob("*.md") if "generated" not in path.parts),
]


def code_blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of a page in the languages, without their indentation."""
    blocks = re.findall(r"^( *)```(\w*)\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [
        re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, language, text in blocks if language in languages
    ]


def commands(page: Path) -> list[str]:
    """Return the pixelwise commands of a page: in console blocks, indented blocks, and lines that torchrun starts."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for block in code_blocks(page, "console") for line in block.splitlines()]
    lines += [
        line.strip()
        for line in re.findall(r"^    (?!`).*$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    ]
    found = []
    for line in lines:
        for part in re.split(r"&&|;", re.sub(r"^for .*? do ", "", line)):
            match = re.search(r"(?:^|-m )\s*pixelwise (.+)", part.partition(" #")[0])
            if match:
                found.append(match[1].removesuffix("; done").strip())
    return found


ALL_COMMANDS = {command: page.name for page in PAGES for command in commands(page)}


def test_the_pages_have_commands() -> None:
    assert len(ALL_COMMANDS) > 40
    assert {command.split()[0] for command in ALL_COMMANDS} >= {
        "inspect", "preview", "train", "evaluate", "predict", "pack", "demo",
    }  # fmt: skip


@pytest.mark.parametrize(("command", "page"), ALL_COMMANDS.items())
def test_every_command_parses(command: str, page: str) -> None:
    tokens = shlex.split(re.sub(r"\$\w+", "0", command).replace("…", ""))
    function, _, unused, *_ = app.parse_known_args(tokens)
    assert function.__name__.startswith(tokens[0].removeprefix("--").replace("-", "_"))
    assert not unused


@pytest.fixture
def registries() -> Iterator[None]:
    """Restore all registries after the test."""
    saved = {registry: dict(registry._entries) for registry in all_registries()}
    yield
    for registry, entries in saved.items():
        registry._entries = entries


def all_registries() -> list[Registry[Any]]:
    from pixelwise.data.augmentations import AUGMENTATIONS
    from pixelwise.data.formats.registry import FORMATS
    from pixelwise.losses import LOSSES
    from pixelwise.metrics import METRICS
    from pixelwise.models.decoders import DECODERS
    from pixelwise.training.callbacks import CALLBACKS
    from pixelwise.training.loggers import LOGGERS

    return [AUGMENTATIONS, CALLBACKS, DECODERS, FORMATS, LOGGERS, LOSSES, METRICS]


def write_leaves(root: Path, mask_values: tuple[int, int] = (0, 255), count: int = 10) -> None:
    """Write images of one disk each, with masks, in two folders."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        disk = (x - rng.integers(12, 36)) ** 2 + (y - rng.integers(12, 36)) ** 2 < 100
        image = np.where(disk[..., None], (40, 160, 40), (120, 90, 60)) + rng.integers(-20, 20, (48, 48, 3))
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{index:03d}.jpg")
        Image.fromarray(np.where(disk, mask_values[1], mask_values[0]).astype(np.uint8)).save(
            root / "masks" / f"{index:03d}.png"
        )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a current directory with the data sets that the pages name, in which trainings are short."""
    monkeypatch.chdir(tmp_path)
    write_leaves(tmp_path / "leaves")
    write_leaves(tmp_path / "paired-leaves")
    for name in ("cats", "dogs"):
        write_leaves(tmp_path / "data" / name, count=8)
    pairs = [f"images/{index:03d}.jpg masks/{index:03d}.png" for index in range(10)]
    (tmp_path / "paired-leaves" / "pairs.txt").write_text("\n".join(pairs), encoding="utf-8")
    (tmp_path / "new-images").mkdir()
    (tmp_path / "new").mkdir()
    for target, source in (("new-images/001", "001"), ("new/001", "001"), ("new/002", "002"), ("cat", "001")):
        shutil.copy(tmp_path / "leaves" / "images" / f"{source}.jpg", tmp_path / f"{target}.jpg")
    draw_dataset(tmp_path / "oxford-iiit-pet", train=8, test=4, size=(48, 48))
    train = pw.train

    def short_training(*args: Any, **settings: Any) -> pw.Run:
        if not any(isinstance(argument, pw.Config) for argument in args):
            settings |= {
                "defaults": False,
                "epochs": 1,
                "image_size": 32,
                "eval_scale": 1.0,
                "batch_size": 4,
                "encoder_training": "none",
            }
        return train(*args, **settings)

    monkeypatch.setattr(pw, "train", short_training)
    return tmp_path


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/index.md",
        "docs/howto/extend.md",
        "docs/howto/bands-and-nodata.md",
        "docs/howto/mask-values.md",
        "docs/howto/several-data-sets.md",
    ],
)
def test_python_blocks_run(page: str, workplace: Path, registries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["my_pixelwise.py"])
    namespace: dict[str, Any] = {"__name__": "docs"}
    for block in code_blocks(ROOT / page, "python"):
        exec(compile(block, page, "exec"), namespace)
    assert "pw" in namespace


@pytest.mark.integration
@pytest.mark.slow
def test_the_block_about_confidence_lists_the_least_confident_image_first(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pw.train(pw.load_dataset("leaves"), "runs/leaves")
    capsys.readouterr()
    exec(compile(code_blocks(DOCS / "howto" / "few-images.md", "python")[0], "few-images.md", "exec"), {})
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {path for path, _ in printed} == {"new/001.jpg", "new/002.jpg"}
    first, second = (float(confidence) for _, confidence in printed)
    assert 0.5 <= first < second <= 1  # the predicted one of two classes has at least half of the probability


@pytest.mark.integration
@pytest.mark.slow
def test_blocks_that_need_a_run_or_data_run(workplace: Path) -> None:
    """The pages name the data `leaves` and the runs `runs/leaves` and `runs/pets`, which one training stands for."""
    cv2 = pytest.importorskip("cv2")
    image = (workplace / "leaves" / "images" / "001.jpg").read_bytes()
    (workplace / "leaf.png").write_bytes(image)
    namespace: dict[str, Any] = {
        "pw": pw,
        "cv2": cv2,
        "frame": np.zeros((48, 48, 3), np.uint8),
        "requests": SimpleNamespace(get=lambda url: SimpleNamespace(content=image)),
        "url": "https://example.com/leaf.png",
        "data": pw.load_dataset("leaves"),
    }

    def run_page(name: str) -> None:
        for block in code_blocks(DOCS / "howto" / name, "python"):
            exec(compile(block, name, "exec"), namespace)

    run_page("augmentations.md")
    shutil.copytree("runs/leaves", "runs/pets")
    run_page("evaluate.md")
    assert Path(namespace["evaluation"].page).is_file()
    run_page("predict.md")
    assert {path.name for path in Path("results").iterdir()} == {"leaf_mask.png", "leaf_overlay.jpg"}


@cache
def string_literals(folder: Path) -> list[str]:
    """Return the constant parts of all strings in the source, f-strings split at their expressions."""
    return [
        node.value
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def quoted_messages() -> list[str]:
    """Return the messages that are headings of the troubleshooting page."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE)


def test_troubleshooting_quotes_enough_messages() -> None:
    assert len(quoted_messages()) >= 20


@pytest.mark.parametrize("message", quoted_messages())
def test_a_quoted_message_exists(message: str) -> None:
    # Capital words and numbers stand for values, and the command line replaces an argument in backticks by its flag.
    literals = string_literals(ROOT / "src" / "pixelwise")
    parts = [part.strip() for part in re.split(r"\b[A-Z_]{2,}\b|…|\d+", message)]
    parts = [part for part in parts if len(part) > 8]
    assert parts
    for part in parts:
        assert any(part in literal for literal in literals), part


def test_every_error_class_is_in_the_troubleshooting_page() -> None:
    from pixelwise import errors

    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    classes = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert [name for name in classes if f"`{name}`" not in text] == []


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    documented = set(re.findall(r"::: pixelwise\.(\w+)$", text, re.MULTILINE)) | set(
        re.findall(r"^        - (\w+)$", text, re.MULTILINE)
    )
    assert set(pw.__all__) - documented == set()


def test_every_loss_and_decoder_has_a_line_in_the_reference() -> None:
    text = (DOCS / "reference" / "losses-and-decoders.md").read_text(encoding="utf-8")
    rows = " ".join(line.partition(" | ")[0] for line in text.splitlines() if line.startswith("| `"))
    assert [name for name in (*pw.list_losses(), *pw.list_decoders()) if f"`{name}`" not in rows] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    pages = [path.relative_to(DOCS).as_posix() for path in PAGES if DOCS in path.parents]
    assert [page for page in pages if f'"{page}"' not in navigation] == []


def test_the_command_line_page_has_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    from generate import command_line_page  # type: ignore[import-not-found]

    text = command_line_page()
    assert set(COMMANDS) >= {"find-lr", "tune", "encoders"}
    for command in COMMANDS:
        assert f"\n## pixelwise {command}\n" in text
    for name in pw.Config.model_fields:
        short = {"image_size": "size", "num_workers": "workers", "cache_images": "cache", "start_from": "from"}
        flag = short.get(name, name).replace("_", "-")
        assert f"`--{flag}" in text, flag


@pytest.fixture(scope="module")
def notebook() -> Any:
    """Read the tutorial."""
    import nbformat

    return nbformat.read(DOCS / "tutorial.ipynb", as_version=4)


class TestTutorial:
    """The committed notebook: its outputs belong to its code, and its code uses public names."""

    def test_the_outputs_are_those_of_the_code(self, notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(DOCS))
        from execute_tutorial import HASH_KEY, hash_code  # type: ignore[import-not-found]

        assert notebook.metadata[HASH_KEY] == hash_code(notebook), "run docs/execute_tutorial.py"

    def test_it_has_its_pictures(self, notebook: Any) -> None:
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        outputs = [output for cell in code for output in cell.outputs]
        kinds = [kind for output in outputs for kind in output.get("data", {})]
        assert kinds.count("text/html") >= 6  # the data set, the report, the display, predictions, metrics
        assert kinds.count("image/png") == 1 and kinds.count("image/gif") == 1
        assert sum(str(output).count("data:image/jpeg;base64,") for output in outputs) >= 7
        assert not any(output.output_type == "error" for output in outputs)
        for folder in ("/home/", "/root/", "/tmp/", "/work/"):
            assert folder not in str(code)
        assert (DOCS / "tutorial.ipynb").stat().st_size < 2_000_000

    def test_a_training_has_one_output(self, notebook: Any) -> None:
        trainings = [cell for cell in notebook.cells if "pw.train(" in cell.source and cell.cell_type == "code"]
        assert [len(cell.outputs) for cell in trainings] == [1, 1]

    def test_it_uses_public_names(self, notebook: Any) -> None:
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        lines = [line for source in code for line in source.splitlines() if not line.strip().startswith("%")]
        source = "\n".join(lines).replace('if "google.colab" in sys.modules:', "if False: pass #")
        tree = ast.parse(source)
        imported = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            )
        }
        assert {name for name in imported if name.startswith("pixelwise")} == {"pixelwise"}
        assert imported <= {"pixelwise", "sys", "torch", "IPython.display"}
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pw"
        }
        assert used and used <= set(pw.__all__)

    def test_it_opens_and_installs_on_colab(self, notebook: Any) -> None:
        first, install = notebook.cells[:2]
        repository = re.search(
            r'^Source = "https://github\.com/(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M
        )
        assert repository is not None
        assert f"colab.research.google.com/github/{repository[1]}/blob/main/docs/tutorial.ipynb" in first.source
        assert '"google.colab" in sys.modules' in install.source and "%pip install --quiet pixelwise" in install.source
