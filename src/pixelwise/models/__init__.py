"""The model: normalize ▸ encode ▸ decode ▸ logits."""
