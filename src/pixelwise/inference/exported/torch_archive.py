"""The content of a .pt2 file, the archive of a torch.export program. Nothing is unpickled or executed, nor is torch
imported.

`torch.export.load` unpickles parts of an archive, and evaluates text in it as Python. A file from a stranger could run
any code in this way. So this module reads the entries that describe the operators and the weights, as data.
"""

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixelwise.errors import RunError, first_finding, first_line
from pixelwise.inference.exported.metadata import MAX_METADATA_BYTES, METADATA_KEY

PROGRAM_VERSION = 8
"""Version of the format of the program. Later minor versions only add to it."""

_ARCHIVE_VERSION = "0"
"""Version of the names of the entries."""

_MAX_PROGRAM_BYTES = 128 << 20
"""Maximum length of the descriptions of the operators and of the weights in bytes."""

_PROGRAM = "models/model.json"
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


T = TypeVar("T", bound=_Data)


class NamedArgument(_Data):
    """An argument of an operator: its name, its value by type, and 2 if it is passed by name."""

    name: str
    arg: dict[str, Any]
    kind: int | None = None


class Node(_Data):
    """The use of an operator."""

    target: str = Field(max_length=200)
    inputs: list[NamedArgument]
    outputs: list[dict[str, Any]]


class TensorMeta(_Data):
    """The type and the shape of a tensor."""

    dtype: int
    sizes: list[dict[str, Any]]
    strides: list[dict[str, Any]]
    storage_offset: dict[str, Any]
    layout: int


class Graph(_Data):
    """The operators in order."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    nodes: list[Node]
    tensor_values: dict[str, TensorMeta]


class Signature(_Data):
    """The sources of the inputs of the operators: weights, or the image."""

    input_specs: list[dict[str, Any]]


class CallSignature(_Data):
    """The structure of the outputs as text."""

    out_spec: str


class ModuleCall(_Data):
    """The call of a module. The first one is that of the program."""

    signature: CallSignature | None = None


class GraphModule(_Data):
    """The operators, and what they take and return."""

    graph: Graph
    signature: Signature
    module_call_graph: list[ModuleCall] = Field(min_length=1)


class Version(_Data):
    """The version of the format."""

    major: int


class ProgramData(_Data):
    """The description of a program."""

    graph_module: GraphModule
    schema_version: Version
    torch_version: str = Field("", max_length=100)


class Payload(_Data):
    """The bytes of a tensor: the name of their entry, and the view of them."""

    path_name: str
    use_pickle: bool
    tensor_meta: TensorMeta | None


class _Payloads(_Data):
    config: dict[str, Payload]


class TorchArchive:
    """A .pt2 file that is open for reading.

    Args:
        path: the file.

    Raises:
        RunError: The file is missing, damaged, of another kind, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise self._damaged(first_line(error)) from None
        self._entries = self._check_entries()
        if self._read("archive_format", 100) != b"pt2":
            raise RunError(f"{path}: is not a torch.export program; name one of pixelwise")
        if (version := self._read("archive_version", 100).decode("utf-8", "replace").strip()) != _ARCHIVE_VERSION:
            raise self.other_version(version)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def metadata(self) -> str | None:
        """Return the metadata as JSON, or None if there are none."""
        name = f"extra/{METADATA_KEY}"
        if name not in self._entries:
            return None
        try:
            return self._read(name, MAX_METADATA_BYTES).decode()
        except UnicodeDecodeError:
            raise self._damaged("its metadata are not text") from None

    def program(self) -> ProgramData:
        """Return the description of the program.

        Raises:
            RunError: It is damaged, or of another version.
        """
        content = self._parse(_PROGRAM)
        version = content.get("schema_version", {}) if isinstance(content, dict) else {}
        major = version.get("major") if isinstance(version, dict) else None
        if isinstance(major, int) and major != PROGRAM_VERSION:
            raise self.other_version(str(major), str(content.get("torch_version", ""))[:40])
        return self._validate(ProgramData, content)

    def payloads(self) -> dict[str, tuple[str, Payload]]:
        """Return the entry and the description of each weight and each constant by its name in the program."""
        result = {}
        for folder, kind in ((_WEIGHTS, "weights"), (_CONSTANTS, "constants")):
            described = self._validate(_Payloads, self._parse(f"{folder}model_{kind}_config.json"))
            result.update({name: (folder + each.path_name, each) for name, each in described.config.items()})
        return result

    def content(self, name: str) -> bytearray:
        """Return the content of an entry."""
        return bytearray(self._read(name, None))

    def other_version(self, version: str, torch: str = "") -> RunError:
        """Return the error for a version of the format that is not known."""
        source = f", written by torch {torch}" if torch else ""
        return RunError(
            f"{self.path}: is a torch.export program of version {version[:20]}{source}, and this pixelwise reads "
            f"version {PROGRAM_VERSION}; update pixelwise and torch, or export it again"
        )

    def _check_entries(self) -> dict[str, zipfile.ZipInfo]:
        """Return the entries without the folder that all are in. Raise RunError if they are larger than the file."""
        entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self._zip.infolist():
            name = "/".join(PurePosixPath(entry.filename).parts[1:])
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or name in entries:
                raise self._damaged(f"the entry {entry.filename[:80]!r} is compressed or there twice")
            entries[name] = entry
        if sum(entry.file_size for entry in entries.values()) > self.path.stat().st_size:
            raise self._damaged("its entries are larger than the file")
        return entries

    def _read(self, name: str, limit: int | None) -> bytes:
        """Return the content of an entry of at most `limit` bytes."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._damaged(f"it has no entry {name[:80]!r}")
        if limit is not None and entry.file_size > limit:
            raise self._damaged(f"the entry {name!r} has {entry.file_size} bytes; at most {limit} are allowed")
        try:
            return self._zip.read(entry)
        except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError) as error:
            raise self._damaged(first_line(error)) from None

    def _parse(self, name: str) -> Any:
        """Return an entry as JSON."""
        try:
            return json.loads(self._read(name, _MAX_PROGRAM_BYTES))
        except (ValueError, RecursionError):
            raise self._damaged(f"the entry {name!r} is not valid JSON") from None

    def _validate(self, kind: type[T], content: Any) -> T:
        try:
            return kind.model_validate(content)
        except ValidationError as error:
            raise self._damaged(first_finding(error)[:200]) from None

    def _damaged(self, reason: str) -> RunError:
        return RunError(f"{self.path}: is not a whole torch.export program ({reason}); copy or export it again")
