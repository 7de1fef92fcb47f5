"""One loop that trains every model: losses, schedules, checkpoints, ranks.

An objective says what a batch costs; the trainer does the rest, is killed and goes on from its
checkpoint to the same weights.

In: vectors with targets, and a configuration. Out: weights, and a history with a row an evaluation.
It knows `common` and `model`, not where data come from.
"""

from .decoder_objective import DecoderObjective, Examples
from .trainer import TrainingConfig, TrainingResult, train

__all__ = ["DecoderObjective", "Examples", "TrainingConfig", "TrainingResult", "train"]
