"""Predictions with exported files. Only the modules that compute a torch.export program import torch."""
