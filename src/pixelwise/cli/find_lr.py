"""`pixelwise find-lr`."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pixelwise.cli.components import DataPath, check_data_exists
from pixelwise.cli.data_flags import DataFlags, mask_words
from pixelwise.cli.setting_flags import given_settings, setting_words, settings_model
from pixelwise.errors import ConfigError, printable

Settings = settings_model()


def find_lr_command(
    *data: DataPath,
    out: Path | None = None,
    plan: Path | None = None,
    preset: Literal["default", "tutorial"] | None = None,
    masks: DataFlags | None = None,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,  # type: ignore[valid-type]
) -> int:
    """Train a few steps with a rising learning rate, plot the loss, and suggest a learning rate.

    Args:
        data: Directory of the data set, a table, or a URL. Several are joined.
        out: Directory of lr-finder.png and lr-finder.csv, which must not exist. [default: NAME-lr, NAME from DATA]
        plan: A plan.yaml from pixelwise inspect. Flags override its settings.
        preset: Fixed settings instead of a plan.
    """
    if not data:
        raise ConfigError("DATA is missing: the directory of the data set, a table, or a URL")
    roots = tuple(map(str, data))
    check_data_exists(roots)
    from pixelwise.cli.common import data_name
    from pixelwise.cli.entry import DONE
    from pixelwise.cli.train_group import Repeats
    from pixelwise.cli.train_run import Request, check_request, load_source, resolve_config
    from pixelwise.runtime.files import next_free_path
    from pixelwise.training.lr_finder import find_learning_rate

    given, masks = given_settings(settings), masks or DataFlags()
    target = out or next_free_path(Path(f"{data_name(roots[0])}-lr"))
    options = masks.label_options(given.get("skip_unreadable", False))
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
    flags += [*mask_words(masks), *setting_words(settings, leave_out=("lr",)), "--lr", f"{curve.suggestion:g}"]
    print(printable(f"use it: {shlex.join(['pixelwise', 'train', *roots, *flags])}"))
    return DONE
