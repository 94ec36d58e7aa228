"""Import everything that the commands import, so that forked processes start at once."""

import importlib
import os
from collections.abc import MutableMapping

_MODULES = (
    *(f"pixelwise.cli.{name}" for name in ("app", "inspect", "train", "evaluate", "predict", "pack")),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "lightning_fabric", "timm", "tifffile", "scipy.ndimage"),
    *(
        "pycocotools.mask",
        "PIL.Image",
        "torch.utils.tensorboard",
        "IPython.display",
        "jinja2",
        "yaml",
        "safetensors.torch",
    ),
)


def use_one_thread(env: MutableMapping[str, str] = os.environ) -> None:
    """Make libraries compute in one thread. Call it before they are imported: a fork does not copy threads."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        env[name] = "1"


def preload() -> None:
    """Import the modules."""
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    Image.init()
    for name in _MODULES:
        importlib.import_module(name)
