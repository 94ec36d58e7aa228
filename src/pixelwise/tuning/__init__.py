"""Search for better settings on the validation images. Needs the extra `tune`."""
