"""TODO: module."""

import yaml


def yaml_text(value: object) -> str:
    """A value as YAML on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("...\n").strip()
    )


def yaml_line(name: str, value: object, reason: str) -> str:
    """A line of YAML with its reason as a comment."""
    text = f"{name}: {yaml_text(value)}"
    return f"{text:<34}  # {reason}" if reason else text
