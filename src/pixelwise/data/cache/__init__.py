"""The cache of decoded and resized images."""
