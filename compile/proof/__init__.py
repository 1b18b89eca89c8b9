"""Whether a program still computes the module's function. docs/parity.md explains the rule."""
