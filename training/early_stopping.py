"""When a training stops before its last epoch: a figure of its log no longer rises."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

TRAIN_ACCURACY = "train_accuracy"


class EarlyStopping(TrainerCallback):
    """Stops when a figure has not risen above its best for `patience` entries of the log.

    The log is part of every checkpoint, so a resumed run stops where one that went through does.

    Args:
        figure: its name in the log.
        patience: entries without a rise.
        after: the epoch up to which entries don't count.
    """

    def __init__(self, figure: str, patience: int, after: float = 0.0):
        self.figure = figure
        self.patience = patience
        self.after = after

    def stopped(self, history: list[dict]) -> bool:
        """Whether a training with this log has stopped."""
        rows = [row for row in history if self.figure in row and row["epoch"] > self.after]
        best = max(range(len(rows)), key=lambda i: rows[i][self.figure], default=0)  # the first of equal ones
        return len(rows) - 1 - best >= self.patience

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs):
        if self.figure in (logs or {}):
            control.should_training_stop |= self.stopped(state.log_history)


class TokenAccuracy(TrainerCallback):
    """Logs, at the end of each epoch, the share of its training tokens that the model tagged right (AIONER stops by it).

    The forward passes of the training are what is judged: weights still move within the epoch, and dropout is on. After a
    checkpoint inside an epoch, the rest of that epoch is what counts.

    Args:
        trainer: writes the log.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.counts = torch.zeros(2, dtype=torch.long)

    def add(self, tags: Tensor, labels: Tensor) -> None:
        """Counts a batch.

        Args:
            tags: (B, S) int64. labels: (B, S) int64, below 0 where there is none.
        """
        known = labels >= 0
        self.counts = self.counts.to(labels.device) + torch.stack([(known & (tags == labels)).sum(), known.sum()])

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.counts = torch.zeros_like(self.counts)

    def on_epoch_end(self, args, state, control: TrainerControl, **kwargs):
        right, known = self.trainer.accelerator.reduce(self.counts.to(args.device)).tolist()
        if known:
            should_log = control.should_log  # logging takes the wish back
            self.trainer.log({TRAIN_ACCURACY: right / known})
            control.should_log = should_log
