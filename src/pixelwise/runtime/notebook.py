"""Output in Jupyter notebooks."""

from pathlib import Path


def show_in_notebook(image: Path) -> None:
    """Show an image file below the running cell. Do nothing outside of a notebook."""
    try:
        from IPython import display, get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None and "IPKernelApp" in shell.config:
        display.display(display.Image(filename=str(image)))
