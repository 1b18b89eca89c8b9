"""A training run on disk: finished, or one that can be resumed."""
