"""Run directories: the files of a training, and its checkpoints."""
