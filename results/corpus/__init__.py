"""The standing check against networks that nobody here wrote; `just corpus` runs it."""
