"""The spec of joined data sets, and functions for specs of both kinds."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.join import class_indices, dataset_names, join_datasets
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import ReadSpec
from pixelwise.data.spec import DatasetSpec, read_spec_file
from pixelwise.errors import ConfigError, RunError, printable
from pixelwise.palette import parse_hex, to_hex
from pixelwise.runtime.yaml_text import yaml_text


def _check_color(text: str) -> str:
    return to_hex(parse_hex(text))


class JoinedSpec(BaseModel):
    """The specs of several data sets that were joined, see `join_datasets`.

    Attributes:
        sets: name of a data set, see `dataset_names` → its spec, in the order in which they were joined.
        classes: class name → color such as "#e69f00", in index order. Empty if the classes, their order and their
            colors are those that `join_datasets` derives from the data sets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sets: Annotated[dict[str, DatasetSpec], Field(min_length=1)]
    classes: dict[str, Annotated[str, AfterValidator(_check_color)]] = {}

    @classmethod
    def of(cls, data: DatasetIndex) -> Self:
        """Return the spec of data sets that were joined.

        Args:
            data: the result of `join_datasets`.
        """
        names = map(printable, dataset_names([part.root for part in data.sets]))
        spec = cls(sets={name: DatasetSpec.of(part) for name, part in zip(names, data.sets, strict=True)})
        derived = spec._classes()
        if (derived.classes, derived.palette) == (data.classes, data.palette):
            return spec
        colors = map(to_hex, data.palette)
        return spec.model_copy(update={"classes": dict(zip(data.classes, colors, strict=True))})

    def load(
        self, root: str | Path | RemoteFile, skip_unreadable: bool = False, allow_outside: bool = False
    ) -> DatasetIndex:
        """Load one data set with the joined classes. See `load_all` for the arguments and errors."""
        return self.load_all([root], skip_unreadable, allow_outside)

    def load_all(
        self, roots: Sequence[str | Path | RemoteFile], skip_unreadable: bool = False, allow_outside: bool = False
    ) -> DatasetIndex:
        """Load data sets and join them. The result has the classes of all specs in the same order.

        A data set is read by the spec of its name. If no data set has such a spec, and there are as many data sets as
        specs, the specs apply in order. Otherwise a data set without a spec is new. Its classes are detected (see
        `load_dataset`). Their names must be among the joined classes.

        Args:
            roots: folders, files or URLs, for example only one of the joined data sets.
            skip_unreadable: leave out files that cannot be used instead of raising.
            allow_outside: see `DatasetSpec.load`.

        Raises:
            DataError: A data set cannot be read.
            ConfigError: A spec does not fit its data set, or a new data set has a class that is not a joined class.
        """
        names = [printable(name) for name in dataset_names(roots)]
        specs = [self.sets.get(name) for name in names]
        if not any(specs) and len(roots) == len(self.sets):
            specs = list(self.sets.values())
        full = self._classes()
        joined_names = {
            id(spec): tuple(full.classes[index] for index in indices)
            for spec, indices in zip(self.sets.values(), class_indices(full), strict=True)
        }
        sets = []
        for root, spec in zip(roots, specs, strict=True):
            with errors_of(root):
                if spec is None:
                    sets.append(load_dataset(root, skip_unreadable=skip_unreadable, allow_outside=allow_outside))
                else:
                    data = spec.load(root, skip_unreadable, allow_outside)
                    sets.append(replace(data, classes=joined_names[id(spec)]))
        return join_datasets(sets, full.classes, full.palette)

    def _classes(self) -> DatasetIndex:
        """Return a data set without records that has the joined classes and palette."""
        return join_datasets(
            [
                DatasetIndex(
                    name, spec.format, tuple(spec.classes), spec.palette, ReadSpec(spec.value_map(), spec.channels)
                )
                for name, spec in self.sets.items()
            ],
            tuple(self.classes),
            tuple(map(parse_hex, self.classes.values())),
        )

    def to_yaml(self) -> str:
        """Return the specs as the text of a YAML file for `read_dataset_spec`."""
        return "\n".join(self.to_lines({}, indent="")) + "\n"

    def to_lines(self, reasons: Mapping[str, str], indent: str = "  ") -> list[str]:
        """Return the specs as lines of YAML, see `DatasetSpec.to_lines`."""
        lines = [f"{indent}sets:"]
        for name, spec in self.sets.items():
            lines += [f"{indent}  {yaml_text(name)}:", *spec.to_lines(reasons, f"{indent}    ")]
        if self.classes:
            lines.append(f"{indent}classes:")
            lines += [f"{indent}  {yaml_text(name)}: {yaml_text(color)}" for name, color in self.classes.items()]
        return lines


AnySpec = DatasetSpec | JoinedSpec


def spec_of(data: DatasetIndex) -> AnySpec:
    """Return the spec of a loaded data set, or of data sets that were joined."""
    if not data.sets:
        return DatasetSpec.of(data)
    return JoinedSpec.of(data)


def with_roots(spec: AnySpec, roots: Sequence[str]) -> AnySpec:
    """Return a spec that stores where its data sets are.

    Args:
        spec: the spec.
        roots: the absolute path or the URL of each data set.
    """
    if isinstance(spec, DatasetSpec):
        return spec.model_copy(update={"root": roots[0]})
    pairs = zip(spec.sets.items(), roots, strict=True)
    return spec.model_copy(
        update={"sets": {name: each.model_copy(update={"root": root}) for (name, each), root in pairs}}
    )


def spec_roots(spec: AnySpec) -> tuple[str, ...]:
    """Return the paths or URLs of the data sets of a spec. Return () if it does not store all of them."""
    roots = [each.root for each in ([spec] if isinstance(spec, DatasetSpec) else spec.sets.values())]
    known = tuple(root for root in roots if root is not None)
    return known if len(known) == len(roots) else ()


def without_roots(spec: AnySpec) -> AnySpec:
    """Return a spec that does not store where its data sets are, see `with_roots`."""
    if isinstance(spec, DatasetSpec):
        return spec.model_copy(update={"root": None})
    return spec.model_copy(
        update={"sets": {name: each.model_copy(update={"root": None}) for name, each in spec.sets.items()}}
    )


def parse_any_spec(path: Path, fields: Mapping[str, object]) -> AnySpec:
    """Return the spec of either kind that a file contains.

    Args:
        path: the file, for the error.
        fields: the spec as JSON types.

    Raises:
        RunError: The spec is invalid.
    """
    try:
        return _build_any_spec(**fields)
    except ValueError as error:  # also pydantic's
        raise RunError(f"{path}: its label map cannot be read ({' '.join(str(error).split())[:300]})") from None


def _build_any_spec(**fields: object) -> AnySpec:
    return JoinedSpec.model_validate(fields) if "sets" in fields else DatasetSpec.model_validate(fields)


def read_any_spec(path: Path) -> AnySpec:
    """Read a spec of either kind from a YAML file.

    Raises:
        RunError: The file is missing or damaged. The message names it.
    """
    return read_spec_file(path, _build_any_spec)


def load_with_spec(
    spec: AnySpec, roots: Sequence[str | Path | RemoteFile], skip_unreadable: bool = False, allow_outside: bool = False
) -> DatasetIndex:
    """Load one data set, or several that are joined, with a spec.

    Args:
        spec: the spec.
        roots: folders, files or URLs.
        skip_unreadable, allow_outside: see `DatasetSpec.load`.

    Raises:
        DataError: A data set cannot be read.
        ConfigError: The spec does not fit a data set, or there are several data sets and the spec is of one.
    """
    if isinstance(spec, JoinedSpec):
        return spec.load_all(roots, skip_unreadable, allow_outside)
    if len(roots) > 1:
        raise ConfigError(f"{roots[1]}: is one data set too many, because the plan or run is of a single one")
    return spec.load(roots[0], skip_unreadable, allow_outside)


@contextmanager
def errors_of(root: str | Path | RemoteFile) -> Iterator[None]:
    """Add the name of a data set to a ConfigError that the block raises."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{root}: {str(error).removeprefix(f'{root}: ')}") from None
