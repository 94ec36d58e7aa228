"""Images that labelme stores in its JSON files."""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.formats._json import read_json
from pixelwise.errors import DataError


@dataclass(frozen=True)
class EmbeddedImage:
    """The image in the field imageData of a labelme JSON file, as a `BytesSource`."""

    path: Path

    @property
    def name(self) -> str:
        """A file name for the image."""
        return f"{self.path.stem}.png"

    def read_bytes(self) -> bytes:
        """Return the decoded imageData, or b"" if there is none. Raises DataError if it is not valid base64."""
        content = read_json(self.path)
        data = content.get("imageData") if isinstance(content, dict) else None
        try:
            return base64.b64decode(data or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise DataError("its imageData is not valid base64; put the image next to the file") from None

    def __str__(self) -> str:
        return f"{self.path} (imageData)"
