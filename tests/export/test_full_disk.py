"""The writers of exported files on a full disk: the library behind each must not end the process, or fail silently."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

import pixelwise
from pixelwise.export.base import ExportJob
from pixelwise.export.drawn_images import draw_image
from pixelwise.export.targets import EXPORTERS
from pixelwise.inference.exported.metadata import ExportMetadata, SelfTest
from pixelwise.inference.predictor import Predictor


@pytest.mark.integration
@pytest.mark.parametrize(
    ("target", "name", "full"),
    [("onnx", "m.onnx", "m.onnx"), ("openvino", "m.xml", "m.bin"), ("torch", "m.pt2", "m.pt2")],
)
def test_a_full_disk_is_an_os_error(
    target: str, name: str, full: str, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system does not have /dev/full")
    model = EXPORTERS[target].component(ExportJob(predictor))
    image = draw_image(20, 30, 3)
    metadata = ExportMetadata(
        version=pixelwise.__version__,
        opset=model.opset,
        precision="float32",
        parity=1.0,
        model=predictor.config,
        tests=(SelfTest.encode(image, image[..., 0]),),
    )
    (tmp_path / full).symlink_to("/dev/full")
    if target == "openvino":
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"No space left|iostream error") as caught:
        model.write(tmp_path / name, metadata)
    assert caught.value.errno == errno.ENOSPC
