"""The spec of joined data sets: written, read back, and applied to all, some and other data sets."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.join import join_datasets
from pixelwise.data.joined_spec import JoinedSpec, load_with_spec, read_any_spec, spec_of
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, RunError
from tests.data.joined import draw_shapes


class Folders(NamedTuple):
    """Data sets with squares only, with discs only, and with both."""

    square: Path
    disc: Path
    full: Path

    @property
    def joined(self) -> pw.DatasetIndex:
        return join_datasets([pw.load_dataset(self.square), pw.load_dataset(self.disc)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("shapes")
    return Folders(
        draw_shapes(root / "square", ["square"], count=3),
        draw_shapes(root / "disc", ["disc"], count=3, background="other"),
        draw_shapes(root / "full", ["disc", "square"], count=3),
    )


def read_all(data: pw.DatasetIndex) -> list[list[int]]:
    return [np.unique(data.read(record)[1]).tolist() for record in data.train]


def test_a_spec_reads_back_and_loads_the_same_data(folders: Folders, tmp_path: Path) -> None:
    data = folders.joined
    spec = spec_of(data)
    (tmp_path / "data.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    assert read_any_spec(tmp_path / "data.yaml") == spec and isinstance(spec, JoinedSpec)
    again = load_with_spec(spec, [folders.square, folders.disc])
    assert (again.classes, again.palette, again.read_spec) == (data.classes, data.palette, data.read_spec)
    assert again.train == data.train and read_all(again) == read_all(data) == [[1, 3]] * 3 + [[2, 4]] * 3


def test_a_spec_of_a_single_data_set_is_read_as_before(folders: Folders, tmp_path: Path) -> None:
    data = pw.load_dataset(folders.full)
    spec = spec_of(data)
    (tmp_path / "data.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    assert isinstance(spec, DatasetSpec) and read_any_spec(tmp_path / "data.yaml") == spec
    assert load_with_spec(spec, [folders.full]).classes == data.classes
    with pytest.raises(ConfigError, match=r"disc: is one data set too many"):
        load_with_spec(spec, [folders.full, folders.disc])


def test_a_part_keeps_all_classes(folders: Folders) -> None:
    data = load_with_spec(spec_of(folders.joined), [folders.disc])
    assert data.classes == ("background", "square", "disc") and data.palette == folders.joined.palette
    assert read_all(data) == [[2, 3]] * 3, "2 is disc, 3 is background or square"


def test_a_background_that_only_its_values_tell_keeps_its_name(tmp_path: Path) -> None:
    """Both data sets have masks of 0 and 255, and no class is named background."""
    folders = [draw_shapes(tmp_path / name, [name], count=2, background=f"no {name}") for name in ("square", "disc")]
    for folder in folders:
        for path in (folder / "masks").iterdir():
            Image.fromarray((np.asarray(Image.open(path)) * 255).astype(np.uint8)).save(path)
    data = join_datasets([pw.load_dataset(folder) for folder in folders])
    assert data.classes == ("no square", "square", "disc") and read_all(data) == [[1, 3]] * 2 + [[2, 4]] * 2
    part = load_with_spec(spec_of(data), folders[1:])
    assert part.classes == data.classes and read_all(part) == [[2, 3]] * 2


def test_the_order_of_data_sets_with_known_names_does_not_matter(folders: Folders) -> None:
    data = load_with_spec(spec_of(folders.joined), [folders.disc, folders.square])
    assert data.classes == ("background", "square", "disc") and read_all(data) == [[2, 3]] * 3 + [[1, 4]] * 3


def test_a_new_data_set_beside_a_known_one_leaves_the_spec_of_the_known_one(folders: Folders) -> None:
    spec = spec_of(folders.joined)
    data = load_with_spec(spec, [folders.disc, folders.full])
    assert data.sets[0].classes == load_with_spec(spec, [folders.disc]).sets[0].classes
    assert data.sets[1].classes == ("background", "disc", "square")


def test_renamed_data_sets_are_read_in_order(folders: Folders) -> None:
    spec = spec_of(folders.joined)
    assert isinstance(spec, JoinedSpec)
    renamed = JoinedSpec(sets={f"old {name}": each for name, each in spec.sets.items()})
    assert read_all(renamed.load_all([folders.square, folders.disc])) == read_all(folders.joined)


def test_given_classes_and_their_colors_are_stored(folders: Folders, tmp_path: Path) -> None:
    single = pw.load_dataset(folders.square)
    assert single.classes == ("background", "square")
    joined = join_datasets([single], ("square", "star", "background"), ((1, 2, 3), (4, 5, 6), (0, 0, 0)))
    assert joined.root == single.root, "names of images stay relative to it"
    file = tmp_path / "data.yaml"
    file.write_text(spec_of(joined).to_yaml())
    again = load_with_spec(read_any_spec(file), [folders.square])
    assert (again.classes, again.palette) == (joined.classes, joined.palette)
    assert read_all(again) == read_all(joined)
    assert "classes" not in spec_of(folders.joined).model_dump(exclude_defaults=True), "derived from the data sets"
    file.write_text(file.read_text().replace("#010203", "red"))
    with pytest.raises(RunError, match=r"data\.yaml"):
        read_any_spec(file)


def test_another_data_set_is_matched_by_its_class_names(folders: Folders, tmp_path: Path) -> None:
    spec = spec_of(folders.joined)
    data = load_with_spec(spec, [folders.full])
    assert data.classes == ("background", "square", "disc") and data.read_spec.partial_labels.possible == ()
    assert read_all(data) == [[0, 1, 2]] * 3
    star = draw_shapes(tmp_path / "stars", ["star"], count=2)
    with pytest.raises(ConfigError, match="stars: has the class 'star', which is none of 'background', 'square'"):
        load_with_spec(spec, [star])


def test_an_error_of_a_spec_names_the_data_set(folders: Folders) -> None:
    spec = spec_of(folders.joined)
    assert isinstance(spec, JoinedSpec)
    polygons = spec.sets["disc"].model_copy(update={"kind": "polygons"})
    broken = spec.model_copy(update={"sets": {**spec.sets, "disc": polygons}})
    with pytest.raises(ConfigError, match=f"^{folders.disc}: kind: polygons"):
        broken.load_all([folders.square, folders.disc])


def test_data_sets_with_equal_names_have_their_paths_as_names(folders: Folders) -> None:
    first = pw.load_dataset(folders.square)
    spec = spec_of(join_datasets([first, replace(first, root=Path("elsewhere/square")), first]))
    assert isinstance(spec, JoinedSpec)
    assert list(spec.sets) == [str(folders.square), "elsewhere/square", f"{folders.square} (2)"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("sets:\n  a: {format: folders}\n")
    with pytest.raises(RunError, match=r"data\.yaml: cannot be read"):
        read_any_spec(path)
