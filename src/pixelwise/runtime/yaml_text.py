"""Format values as YAML on one line."""

import yaml


def yaml_text(value: object) -> str:
    """Return a value as YAML on one line.

    >>> yaml_text({"a": [1, None]})
    '{a: [1, null]}'
    """
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
        .removesuffix("...\n")
        .strip()
    )


def yaml_line(name: str, value: object, reason: str) -> str:
    """Return `name: value` as a line of YAML with a comment.

    Args:
        name: the key.
        value: the value.
        reason: the comment, or "" for none.

    >>> yaml_line("epochs", 3, "a short training")
    'epochs: 3                           # a short training'
    """
    text = f"{name}: {yaml_text(value)}"
    return f"{text:<34}  # {reason}" if reason else text
