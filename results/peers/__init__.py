"""zoo-run's forms beside the other tools of the field, on the same machine in the same minutes."""
