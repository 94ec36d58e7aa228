"""The model: normalise ▸ encode ▸ decode ▸ logits."""
