"""Write a network of Ultralytics with random weights as an ONNX file: _yolo_export.py NAME SIZE OUT.

It runs in an environment of its own with Ultralytics, whose license is the AGPL.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    name, size, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": folder}  # before the import
        from ultralytics import YOLO

        os.chdir(folder)
        shutil.move(Path(YOLO(f"{name}.yaml").export(format="onnx", imgsz=int(size), device="cpu")), out)
