"""A griffe extension: doctests in docstrings become code blocks.

Without it, Markdown reads the prompt `>>>` as three nested quotes.
"""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
_OPTION = re.compile(r" +# doctest: .*")


class DoctestBlocks(griffe.Extension):
    """Puts each doctest of a docstring into a fenced block, without doctest's options."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of one object. griffe calls this for each object it loads."""
        if obj.docstring is not None:
            obj.docstring.value = fence_doctests(obj.docstring.value)


def fence_doctests(text: str) -> str:
    """Return a docstring with its doctests in fenced blocks.

    >>> print(fence_doctests("Add.\\n\\n>>> 1 + 1\\n2").replace("`", "'"))
    Add.
    <BLANKLINE>
    '''pycon
    >>> 1 + 1
    2
    '''
    """
    return _DOCTEST.sub(lambda match: f"{match[1]}```pycon\n{_OPTION.sub('', match[0])}\n{match[1]}```", text)
