"""The module before it is compiled: folded, cast, quantised, named by its weights."""
