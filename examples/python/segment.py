"""Predict the mask of an image with an exported file: python segment.py model.onnx cat.jpg mask.png."""

import base64
import io
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model_file, image_file, mask_file = sys.argv[1:]
session = onnxruntime.InferenceSession(model_file)
facts = json.loads(session.get_modelmeta().custom_metadata_map["pixelwise"])
if facts["model"]["task"] == "multilabel" or len(facts["model"]["mean"]) != 3:
    sys.exit(f"{model_file}: this program is for RGB images and one class per pixel")


def predict(image: np.ndarray) -> np.ndarray:
    """Return the mask (H, W) uint8 of an image (H, W, 3) uint8."""
    return session.run(["mask"], {"image": image[None]})[0][0]


for test in facts["tests"]:
    image, expected = (np.array(Image.open(io.BytesIO(base64.b64decode(test[key])))) for key in ("image", "mask"))
    equal = float((predict(image) == expected).mean())
    print(f"self-test: {equal:.2%} of the pixels equal")
    if equal < 0.999:
        sys.exit(2)

mask = predict(np.array(ImageOps.exif_transpose(Image.open(image_file)).convert("RGB")))
Image.fromarray(mask).save(mask_file)
for index, name in enumerate(facts["model"]["classes"]):
    print(f"{name}: {(mask == index).mean():.1%}")
