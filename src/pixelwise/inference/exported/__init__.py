"""Predictions with exported files. Nothing here imports torch."""
