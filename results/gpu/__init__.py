"""What zoo does on an NVIDIA GPU, in ten minutes; `just gpu` runs it."""
