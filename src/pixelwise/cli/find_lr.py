"""`pixelwise find-lr`."""

import shlex
from pathlib import Path

from pixelwise.cli.components import DataPath, check_data_exists
from pixelwise.cli.data_flags import DataFlags, mask_words
from pixelwise.cli.setting_flags import setting_words
from pixelwise.cli.training_flags import Preset, SettingFlags, parse_flags, require_data
from pixelwise.errors import printable


def find_lr_command(
    *data: DataPath,
    out: Path | None = None,
    plan: Path | None = None,
    preset: Preset | None = None,
    masks: DataFlags | None = None,
    settings: SettingFlags | None = None,
) -> int:
    """Train a few steps with a rising learning rate, plot the loss, and suggest a learning rate.

    Args:
        data: Directory of the data set, a table, or a URL. Several are joined.
        out: Directory of lr-finder.png and lr-finder.csv, which must not exist. [default: NAME-lr, NAME from DATA]
        plan: A plan.yaml from pixelwise inspect. Flags override its settings.
        preset: Fixed settings instead of a plan.
    """
    roots = require_data(data)
    check_data_exists(roots)
    from pixelwise.cli.common import data_name
    from pixelwise.cli.entry import DONE
    from pixelwise.cli.train_group import Repeats
    from pixelwise.cli.train_run import Request, check_request, load_source, resolve_config
    from pixelwise.runtime.files import next_free_path
    from pixelwise.training.lr_finder import find_learning_rate

    options, given = parse_flags(masks, settings)
    target = out or next_free_path(Path(f"{data_name(roots[0])}-lr"))
    request = Request(roots, target, plan, preset, False, options, given, Repeats())
    chosen = check_request(request)
    source = load_source(request, chosen)
    config = resolve_config(request, chosen, source)
    curve = find_learning_rate(source.dataset, target, config, preset=preset, verbose=True)
    print(printable(f"curve: {target / 'lr-finder.png'}, {target / 'lr-finder.csv'}"))
    if curve.suggestion is None:
        print(
            "the loss did not fall at any learning rate; check the masks with pixelwise preview, or set another --loss"
        )
        return DONE
    print(f"suggested learning rate: {curve.suggestion:g} (now {config.lr:g})")
    flags = ["--plan", str(plan)] if plan else ["--preset", preset] if preset else []
    flags += mask_words(masks or DataFlags())
    flags += [*setting_words(settings, leave_out=("lr",)), "--lr", f"{curve.suggestion:g}"]
    print(printable(f"use it: {shlex.join(['pixelwise', 'train', *roots, *flags])}"))
    return DONE
