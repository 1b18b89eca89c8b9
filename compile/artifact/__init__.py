"""The artifact folder: its manifest, its files, reading it safely and publishing it whole."""
