"""Output in Jupyter notebooks."""

import sys
from typing import Any


def in_notebook() -> bool:
    """Return True in the kernel of a notebook. IPython is not imported, because a kernel has imported it already."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and "IPKernelApp" in shell.config


class LiveOutput:
    """One output below the running cell whose content can be replaced. Outside of a notebook, nothing is shown."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, html: str) -> None:
        """Show the output, or replace its content.

        Args:
            html: the content.
        """
        if not in_notebook():
            return
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))
