"""Exported graphs: the names of their steps, and the blocks they fall into."""
