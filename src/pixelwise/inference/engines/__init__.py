"""Engines of predictions. Importing this package registers those of pixelwise in `ENGINES`."""

# The order of the registry is that of these imports.
# isort: off
from pixelwise.inference.engines import local, ray_cluster

# isort: on
from pixelwise.inference.engines.base import ENGINES, Engine, get_engine

__all__ = ["ENGINES", "Engine", "get_engine", "local", "ray_cluster"]
