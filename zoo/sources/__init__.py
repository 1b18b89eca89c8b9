"""MODEL on the command line: where a network, its weights and its data come from."""
