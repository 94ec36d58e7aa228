"""Replace the tables of docs/results.md by new measurements. `make figures` runs this script.

usage: python benchmarks/figures.py --page docs/results.md [--data DIR] [--weights FILE] [--peer-script FILE
       --peer-python FILE --smp-script FILE --yolo-python FILE] [--only NAME …] [--to FOLDER | --from FOLDER]

A table stands between `<!-- figures: NAME -->` and `<!-- end -->`. NAME is a benchmark of this folder. A benchmark
whose data are not given is not run, and its table is left unchanged. The options are those of the page's commands.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from _common import existing, render, say

HERE = Path(__file__).resolve().parent

NEEDS: dict[str, tuple[str, ...]] = {
    "against_smp": ("data", "smp_script"),
    "against_tutorial": ("data", "weights", "peer_script", "peer_python"),
    "data_speed": ("data",),
    "device_limits": ("data",),
    "encoders": (),
    "decoders": (),
    "engine_overhead": (),
    "inspect_speed": ("data",),
    "interval_cover": (),
    "joined_data_sets": ("data",),
    "latency_under_load": (),
    "large_image": (),
    "merged_norm": (),
    "mosaic": ("data",),
    "padding": ("data",),
    "predict_speed": ("data", "weights", "peer_script", "peer_python", "yolo_python"),
    "prediction_memory": (),
    "prediction_parts": ("data",),
    "process_pool": (),
    "recipes": ("data",),
    "thin_structures": (),
}
"""A benchmark → the arguments without which its table cannot be measured."""

NEED_GPU = frozenset({"device_limits", "recipes"})
"""Benchmarks that are not run on a machine without a GPU."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "against_tutorial": ("--seeds", "2", "--short-epochs", "4"),
    "decoders": ("--cores", "1", "--batch", "2", "--steps", "1", "--rounds", "2"),
    "device_limits": ("--cores", "4"),
    "encoders": ("--cores", "1", "--batch", "4", "--steps", "1"),
    "engine_overhead": ("--steps", "100", "--rounds", "3"),
    "large_image": ("--scale", "0.25"),
}
"""A benchmark → its further options, as in its command on the page. Others have their defaults."""

ENVIRONMENT: dict[str, dict[str, str]] = {"decoders": {"OMP_NUM_THREADS": "1"}}
"""A benchmark → its environment variables, as in its command on the page."""


def pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of a benchmark's markers and of the text between them."""
    return re.compile(rf"(<!-- figures: {re.escape(name)} -->\n)((?:(?!<!--).)*)(<!-- end -->)", re.DOTALL)


def check_markers(page: str, names: Sequence[str]) -> None:
    """End the process unless the page has one pair of markers for each benchmark."""
    for name in names:
        if (found := len(pattern(name).findall(page))) != 1:
            sys.exit(f"the page needs <!-- figures: {name} --> and <!-- end --> once, and has them {found} times")


def replace_tables(page: str, texts: Mapping[str, str]) -> str:
    """Return the page with the text between the markers of some benchmarks replaced."""
    check_markers(page, list(texts))
    for name, text in texts.items():
        page = pattern(name).sub(lambda match, text=text: f"{match[1]}\n{text}\n\n{match[3]}", page)
    return page


def has_gpu() -> bool:
    """Return True if PyTorch finds a GPU."""
    import torch

    return torch.accelerator.is_available()


def measure(name: str, folder: Path, arguments: argparse.Namespace) -> bool:
    """Run a benchmark that writes its JSON file to a folder. Return False if an argument or the GPU is missing.

    Raises:
        subprocess.CalledProcessError: The benchmark failed.
    """
    options = {f"--{need.replace('_', '-')}": getattr(arguments, need) for need in NEEDS[name]}
    if missing := [option for option, value in options.items() if value is None]:
        say(f"{name}: left unchanged, {' and '.join(missing)} not given")
        return False
    if name in NEED_GPU and not has_gpu():
        say(f"{name}: left unchanged, there is no GPU")
        return False
    words = [word for option in options.items() for word in option] + [*OPTIONS.get(name, ())]
    command = [sys.executable, HERE / f"{name}.py", "--out", folder / f"{name}.json", *words]
    subprocess.run([str(word) for word in command], check=True, env=os.environ | ENVIRONMENT.get(name, {}))
    return True


def read_results(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the rendered tables of the JSON files in a folder."""
    texts = {}
    for name in names:
        path = folder / f"{name}.json"
        if not path.exists():
            say(f"{name}: left unchanged, there is no {path.name}")
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["options"]["quick"]:
            say(f"{name}: left unchanged, {path.name} is of a run with --quick")
            continue
        texts[name] = render(content)
    return texts


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=existing, required=True, help="the Markdown file with the markers")
    parser.add_argument("--data", type=existing, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--weights", type=existing, help="safetensors file of mobilenetv2_100")
    parser.add_argument("--peer-script", type=existing, help="see against_tutorial.py")
    parser.add_argument("--peer-python", help="see against_tutorial.py")
    parser.add_argument("--smp-script", type=existing, help="see against_smp.py")
    parser.add_argument("--yolo-python", help="see predict_speed.py")
    parser.add_argument("--only", nargs="+", choices=NEEDS, default=list(NEEDS), help="the benchmarks")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--from", dest="source", type=existing, help="read JSON files, measure nothing")
    place.add_argument("--to", type=Path, help="a folder that keeps the JSON files")
    arguments = parser.parse_args(argv)
    check_markers(arguments.page.read_text(encoding="utf-8"), arguments.only)
    with tempfile.TemporaryDirectory() as temporary:
        folder, names = arguments.source or arguments.to or Path(temporary), arguments.only
        if arguments.source is None:
            names = [name for name in names if measure(name, folder, arguments)]
        texts = read_results(folder, names)
    page = arguments.page.read_text(encoding="utf-8")  # again: measuring takes long
    arguments.page.write_text(replace_tables(page, texts), encoding="utf-8")
    say(f"{arguments.page}: replaced {', '.join(texts) or 'nothing'}")


if __name__ == "__main__":
    main()
