"""From a folder to batches of uint8 images and masks."""
