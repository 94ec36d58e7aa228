"""Models: normalization, encoder, decoder; their weights and files."""
