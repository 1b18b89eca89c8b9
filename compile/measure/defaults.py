"""How long a measurement lasts where nothing else is asked for; zoo-run has the same numbers."""

DURATION_S = 3.0
ITERATIONS = 10
"""Timed calls. The run ends when this many are made and DURATION_S has passed."""

WARMUP_S = 1.0
WARMUP_CALLS = 10
"""Calls before the timed ones, as long as WARMUP_S."""

ROUNDS = 11
"""Rounds of a comparison."""
