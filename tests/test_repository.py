"""The repository's own files agree: versions, links, workflows, pages, images."""

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "generated" not in path.parts
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def project() -> dict[str, Any]:
    return dict(tomllib.loads(read("pyproject.toml"))["project"])


def python_versions() -> list[str]:
    prefix = "Programming Language :: Python :: 3."
    return [f"3.{name.removeprefix(prefix)}" for name in project()["classifiers"] if name.startswith(prefix)]


class TestVersions:
    def test_the_citation_has_the_version_and_the_license(self) -> None:
        citation = yaml.safe_load(read("CITATION.cff"))
        version = re.search(r'^__version__ = "(.+)"$', read("src/pixelwise/__init__.py"), re.MULTILINE)
        assert version is not None
        assert (citation["version"], citation["license"]) == (version[1], project()["license"])
        assert citation["repository-code"] == project()["urls"]["Source"]

    def test_python_versions_are_the_same_everywhere(self) -> None:
        versions = python_versions()
        assert len(versions) >= 4
        workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
        assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == versions
        makefile = read("Makefile")
        assert re.findall(r"^VERSIONS := (.*)$", makefile, re.MULTILINE) == [" ".join(versions)]
        lowest = versions[0]
        assert project()["requires-python"] == f">={lowest}"
        assert f"sys.version_info < ({lowest.replace('.', ', ')})" in makefile
        assert tomllib.loads(read("pyproject.toml"))["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
        for page in ("README.md", "docs/index.md"):
            assert f"Python {lowest} or later" in read(page)

    def test_the_workflow_runs_on_the_systems_of_the_classifiers(self) -> None:
        systems = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["test"]["strategy"]["matrix"]["os"]
        known = {"POSIX :: Linux": "ubuntu-latest", "MacOS": "macos-latest", "Microsoft :: Windows": "windows-latest"}
        prefix = "Operating System :: "
        named = {known[name.removeprefix(prefix)] for name in project()["classifiers"] if name.startswith(prefix)}
        assert named == set(systems)


class TestOtherSystems:
    def test_modules_of_unix_are_not_imported_at_the_start_of_a_file(self) -> None:
        """On Windows, such a file cannot be imported. Tests call `pytest.importorskip`, others import in a function."""
        files = [path for folder in ("src", "tests", "docs") for path in (ROOT / folder).rglob("*.py")]
        pattern = re.compile(r"^(?:import|from) (fcntl|grp|pwd|resource|termios)\b", re.MULTILINE)
        found = [
            path for path in files if "chaos" not in path.parts and pattern.search(path.read_text(encoding="utf-8"))
        ]
        assert len(files) > 500
        assert found == []


class TestWorkflows:
    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_actions_are_pinned_to_commits(self, path: Path) -> None:
        used = re.findall(r"uses: (\S+)( # v\d+(?:\.\d+)*)?$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert used
        assert [action for action, tag in used if not (tag and re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action))] == []

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_jobs_may_read_only_and_end(self, path: Path) -> None:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())

    def test_publishing_needs_no_secret(self) -> None:
        text = read(".github/workflows/publish.yml")
        assert "secrets." not in text and "password" not in text
        assert yaml.safe_load(text)["jobs"]["publish"]["permissions"] == {"id-token": "write"}

    def test_pytorch_for_cpus_has_a_command_of_its_own(self) -> None:
        """With `--extra-index-url`, pip installs the build with CUDA if it cannot reach PyTorch's index."""
        names = ("README.md", "docs/index.md", "CONTRIBUTING.md", "Dockerfile", ".devcontainer/devcontainer.json")
        texts = [read(name) for name in names] + [read(".github/workflows/ci.yml")]
        commands = [re.findall(r"pip install .*(?:whl/cpu|TORCH_INDEX)", text) for text in texts]
        assert all(commands)
        wanted = re.compile(r"pip install torch torchvision --index-url \S+")
        assert [line for lines in commands for line in lines if not wanted.fullmatch(line)] == []

    def test_make_targets_of_the_workflows_exist(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
        texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS]
        texts += [read(".devcontainer/devcontainer.json"), read(".ci/run"), read("CONTRIBUTING.md"), read("README.md")]
        used = {name for text in texts for name in re.findall(r"(?:^|[ `])make ([a-z-]+)", text, re.MULTILINE)}
        assert {"demo", "test", "setup", "check"} <= used
        assert used - targets - {"it", "them", "pixelwise"} == set()


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
    def test_links_to_files_exist(self, page: Path) -> None:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
        missing = [
            link
            for link in links
            if "generated/" not in link and "example" not in link and not (page.parent / link).exists()
        ]
        assert missing == []

    def test_images_are_small_and_used(self) -> None:
        text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
        images = list((ROOT / "docs" / "images").iterdir())
        assert images
        assert [image.name for image in images if image.stat().st_size > 150_000] == []
        assert [image.name for image in images if f"images/{image.name}" not in text] == []

    def test_the_readme_begins_with_three_lines_from_install_to_masks(self) -> None:
        lines = re.findall(r"^    (.*)$", read("README.md").partition("![")[0], re.MULTILINE)
        assert [line.split()[:2] for line in lines] == [
            ["pip", "install"],
            ["pixelwise", "train"],
            ["pixelwise", "predict"],
        ]

    def test_the_results_are_facts_without_targets(self) -> None:
        text = read("docs/results.md")
        assert not re.search(r"\b(target|verdict|missed)\b", text)

    def test_the_readme_shows_every_extra_that_users_need(self) -> None:
        readme = read("README.md")
        for name in ("coco", "tiff", "video", "heic", "encoders", "tensorboard", "notebook"):
            assert name in project()["optional-dependencies"]
            assert f"'pixelwise[{name}]'" in readme


def test_urls_are_those_of_one_repository() -> None:
    home = project()["urls"]["Homepage"]
    assert all(url.startswith(home) for url in project()["urls"].values())
    texts = [read(name) for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "Dockerfile", "CITATION.cff")]
    texts.append(read(".github/ISSUE_TEMPLATE/config.yml"))
    for text in texts:
        for url in re.findall(r"https://github\.com/[\w-]+/[\w-]+", text):
            assert url == home


def test_the_container_copies_what_a_build_needs() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", read("Dockerfile"), re.MULTILINE)
        for name in line.split()
    }
    kept = {line.removeprefix("!") for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert copied == kept
    assert {project()["readme"], *project()["license-files"], "pyproject.toml", "src"} == copied


@pytest.mark.skipif(shutil.which("make") is None or sys.platform == "win32", reason="needs make and a POSIX shell")
class TestMakeSetup:
    UV = """#!/bin/sh
echo "$@" >> "$0.calls"
case "$*" in
    venv*) for last; do :; done; mkdir -p "$last/bin"; : > "$last/bin/python"; chmod +x "$last/bin/python" ;;
    *{failing}*) echo "error: dns error" >&2; exit 2 ;;
esac
"""

    def make_setup(self, folder: Path, *, failing: str) -> tuple[subprocess.CompletedProcess[str], list[str], Path]:
        """Run `make setup` with a uv that writes down its calls, and fails if an argument contains `failing`."""
        uv, stamp = folder / "uv", folder / "venv" / ".set-up"
        uv.write_text(self.UV.format(failing=failing), encoding="utf-8")
        uv.chmod(0o755)
        command = ["make", "-C", str(ROOT), "setup", f"UV={uv}", f"VENV={stamp.parent}", f"PYTHON={sys.executable}"]
        run = subprocess.run(command, capture_output=True, text=True)
        calls = (folder / "uv.calls").read_text(encoding="utf-8").splitlines()
        return run, [call for call in calls if call.startswith("pip install")], stamp

    def test_uv_installs_from_the_index_of_pytorch(self, tmp_path: Path) -> None:
        run, installs, stamp = self.make_setup(tmp_path, failing="nothing")
        assert (run.returncode, stamp.exists()) == (0, True)
        assert ["--torch-backend auto" in call for call in installs] == [True]
        assert "PyPI" not in run.stderr

    def test_uv_installs_from_pypi_if_the_index_of_pytorch_fails(self, tmp_path: Path) -> None:
        run, installs, stamp = self.make_setup(tmp_path, failing="--torch-backend")
        assert (run.returncode, stamp.exists()) == (0, True)
        assert ["--torch-backend auto" in call for call in installs] == [True, False]
        assert "dns error" in run.stderr and "Trying PyPI" in run.stderr

    def test_an_installation_that_fails_twice_is_not_taken_as_done(self, tmp_path: Path) -> None:
        run, installs, stamp = self.make_setup(tmp_path, failing="--editable")
        assert (run.returncode, stamp.exists(), len(installs)) == (2, False, 2)
