"""Shell completion: scripts with commands, flags and values, and what bash completes with its script."""

import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from pixelwise.cli.app import COMMANDS, app
from pixelwise.cli.components import DEVICES
from pixelwise.cli.encoders import encoder_names
from pixelwise.config import PRESETS
from pixelwise.data.formats.registry import FORMATS
from pixelwise.losses import LOSSES
from pixelwise.metrics import METRICS
from pixelwise.models.decoders import DECODERS
from pixelwise.training.callbacks import CALLBACKS

_COMPLETE = """
while IFS= read -r line; do
    eval "COMP_WORDS=($line)"
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMPREPLY=()
    _pixelwise
    echo "${COMPREPLY[*]}"
done
"""
"""Bash code that calls the completion function with the words of each line. The last word is the one to complete."""


def generate(shell: Literal["bash", "zsh", "fish"]) -> str:
    return str(app.generate_completion(prog_name="pixelwise", shell=shell))


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what bash completes for each line of `LINES`, in a directory with the folder `leaves`."""
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is not installed")
    folder = tmp_path_factory.mktemp("place")
    (folder / "leaves").mkdir()
    # A file, because Linux limits an argument to 128 KiB.
    script = tmp_path_factory.mktemp("script") / "complete.sh"
    script.write_text(generate("bash") + _COMPLETE, encoding="utf-8")
    lines = "".join(f"{line}\n" for line in LINES)
    done = subprocess.run([program, "--norc", str(script)], input=lines, capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return {line: words.split() for line, words in zip(LINES, done.stdout.splitlines(), strict=True)}


LINES = {
    "pixelwise ''": list(COMMANDS),
    "pixelwise tr": ["train", "try"],
    "pixelwise train leaves --loss ''": list(LOSSES),
    "pixelwise train leaves --loss fo": ["focal"],
    "pixelwise train leaves --decoder ''": list(DECODERS),
    "pixelwise train leaves --callbacks ''": list(CALLBACKS),
    "pixelwise train leaves --device ''": list(DEVICES),
    "pixelwise train leaves --preset ''": list(PRESETS),
    "pixelwise train leaves --class-weights ''": ["none", "balanced", "inverse_sqrt"],
    "pixelwise train leaves --encoder tf_efficientnet_lite": [f"tf_efficientnet_lite{number}" for number in range(5)],
    "pixelwise train leaves --encoder-w": ["--encoder-weights", "--encoder-weights-args"],
    "pixelwise train le": ["leaves"],
    "pixelwise inspect le": ["leaves"],
    "pixelwise preview le": ["leaves"],
    "pixelwise pack le": ["leaves"],
    "pixelwise evaluate run le": ["leaves"],
    "pixelwise inspect leaves --format ''": list(FORMATS),
    "pixelwise evaluate run leaves --split ''": ["train", "val", "test"],
    "pixelwise evaluate run leaves --metrics ''": list(METRICS),
    "pixelwise evaluate run leaves --device ''": list(DEVICES),
    "pixelwise predict run le": ["leaves"],
    "pixelwise predict run leaves --device ''": list(DEVICES),
}
"""Command line, of which the last word is completed → completions."""


@pytest.mark.parametrize("line", LINES)
def test_bash_completes(line: str, bash: dict[str, list[str]]) -> None:
    assert sorted(bash[line]) == sorted(LINES[line])


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_the_values(shell: Literal["zsh", "fish"]) -> None:
    script = generate(shell)
    names = [*COMMANDS, *LOSSES, *DECODERS, *FORMATS, *METRICS, *CALLBACKS, *DEVICES, "resnet18", "--resume"]
    assert [name for name in names if name.removeprefix("--") not in script] == []


def test_encoders_are_those_of_timm() -> None:
    import timm

    assert list(encoder_names()) == sorted(timm.list_models())


def test_without_timm_no_encoder_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.cli.encoders.find_spec", lambda name: None)
    assert encoder_names() == ()


def test_a_decorator_with_text_between_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Spec:
        origin = str(tmp_path / "__init__.py")

    (tmp_path / "models").mkdir()
    code = (
        "@register_model\ndef one(pretrained=False):\n\n# @register_model\ndef two():\n@register_model\r\ndef three(\n"
    )
    (tmp_path / "models" / "nets.py").write_bytes(code.encode())
    monkeypatch.setattr("pixelwise.cli.encoders.find_spec", lambda name: Spec)
    assert encoder_names() == ("one", "three")
