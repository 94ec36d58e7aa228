"""From a folder to batches of uint8 photos and masks."""
