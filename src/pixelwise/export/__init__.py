"""Export a model as one file that works without pixelwise, and measure that it gives the same masks."""
