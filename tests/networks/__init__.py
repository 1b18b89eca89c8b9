"""Networks with a truth: sound ones must pass the proof, wrong ones must not."""

from __future__ import annotations

from tests.networks import (
    known,
    misread,
    sound_attention,
    sound_convs,
    sound_habits,
    sound_layers,
    sound_outputs,
    wrong_batches,
    wrong_draws,
    wrong_outputs,
    wrong_samples,
)
from tests.networks.network import Network

_TABLES = (
    known.TABLE,
    misread.TABLE,
    sound_convs.TABLE,
    sound_layers.TABLE,
    sound_attention.TABLE,
    sound_habits.TABLE,
    sound_outputs.TABLE,
    wrong_draws.TABLE,
    wrong_batches.TABLE,
    wrong_outputs.TABLE,
    wrong_samples.TABLE,
)

NETWORKS: dict[str, Network] = {name: row for table in _TABLES for name, row in table.items()}
"""All of them by name."""
