"""TODO: package."""
