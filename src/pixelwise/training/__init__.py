"""Training: set-up, loop, callbacks and loggers."""
