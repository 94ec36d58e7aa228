"""Prediction: `Predictor` for images in memory, `predict_folder` for files."""
