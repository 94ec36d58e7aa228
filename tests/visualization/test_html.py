"""Tests of the HTML of notebooks: texts are escaped, and images are small JPEGs inside the page."""

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.visualization import html
from tests.visualization.helpers import RED, solid_image


def decode_images(text: str) -> list[Image.Image]:
    """Return the images inside HTML."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(data)), formats=("JPEG",)) for data in found]


def test_names_cannot_add_elements() -> None:
    attack = '<img src=x onerror="alert(1)">\n&amp;\u202e'
    escaped = "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;\ufffd&amp;amp;\ufffd"
    assert html.text(attack) == escaped
    assert html.class_name(attack, RED).endswith(f'background:#ff0000"></span>{escaped}')
    assert html.table((attack,), []).count("<img") == 0
    assert "<img src=x" not in html.image_tag(Image.new("RGB", (2, 2)), attack)


def test_long_texts_are_cut() -> None:
    assert html.text("x" * 100) == "x" * 100
    assert html.text("x" * 101) == "x" * 99 + "…"
    assert html.text("x" * 50, max_length=10) == "x" * 9 + "…"


def test_a_table_has_its_cells_in_order() -> None:
    table = html.table(("class", "IoU"), [("<b>a</b>", "1"), ("b", "2")])
    assert re.findall(r"<t[hd] [^>]*>(.*?)</t[hd]>", table) == ["class", "IoU", "<b>a</b>", "1", "b", "2"]
    assert table.count("<tr>") == 3


def test_an_image_is_reduced_to_the_width() -> None:
    image = Image.fromarray(solid_image(30, 120, RED))
    (small,) = decode_images(html.image_tag(image, "a", width=60))
    assert small.size == (60, 15)
    assert np.abs(np.asarray(small).astype(int) - RED).max() < 4
    (same,) = decode_images(html.image_tag(image, "a", width=500))
    assert same.size == (120, 30)


def test_a_file_that_is_no_image_gives_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), RED).save(tmp_path / "a.png")
    assert len(decode_images(html.image_file_tag(tmp_path / "a.png", "a"))) == 1
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    assert html.image_file_tag(tmp_path / "broken.png", "a") == ""
    assert html.image_file_tag(tmp_path / "gone.png", "a") == ""


def test_a_block_is_one_line() -> None:
    assert html.block(html.paragraph("a"), "", html.text("b\nc")) == '<div><p style="margin:4px 0">a</p>b\ufffdc</div>'
