"""What happens between the epochs of a training run: history, best weights, checkpoints."""

import logging
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from starstack.errors import InputError
from starstack.networks.checkpoints import Checkpoint, write_checkpoint
from starstack.networks.history import physical, progress_line

logger = logging.getLogger(__name__)

# The loss without the penalty of a weight decay, in Keras's numbers of an epoch.
BARE_LOSS = "bare_loss"

# The next checkpoint comes after so many times the seconds that the last one took: a kill loses no
# more than the running epoch where that costs less than 5 % of the time.
SECONDS_PER_WRITE = 20

# What Keras's own callbacks remember from epoch to epoch.
_REMEMBERED = {
    "EarlyStopping": ("wait", "best", "best_epoch", "stopped_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
}


class Recorder(keras.callbacks.Callback):
    """Keep history and best weights of a run, and write checkpoints of it.

    A checkpoint is written at the end of each epoch, unless less time has passed since the last one
    than `SECONDS_PER_WRITE` times what writing it took, or than `checkpoint_seconds`. Before the
    first one, only the latter counts.

    It stands behind the callbacks whose states it keeps, and before one that exchanges weights
    for validation, so that it sees the weights that are validated.

    Parameters
    ----------
    others : sequence of keras.callbacks.Callback
        Callbacks whose states belong to a checkpoint.
    target_names, target_scales
        For the history, see `starstack.networks.history.physical`.
    folder : path or None
        Where checkpoints are written; none if None.
    run : str
        Fingerprint of the run.
    checkpoint_seconds : float
        Seconds between checkpoints, and before the first, at least.
    n_rows : int
        Rows that an epoch trains on.

    Attributes
    ----------
    epoch : int
        The epoch that is running, from 0.
    epochs : list of dict
        History, see `starstack.networks.history.history_table`.
    best_loss : float
        Smallest loss on the validation rows.
    best_weights : list of ndarray or None
        Weights that gave it.
    """

    def __init__(
        self,
        others: Sequence[keras.callbacks.Callback],
        *,
        target_names: Sequence[str],
        target_scales: Sequence[float],
        folder: str | Path | None,
        run: str,
        checkpoint_seconds: float,
        n_rows: int,
    ) -> None:
        super().__init__()
        self.others = others
        self.target_names, self.target_scales = target_names, target_scales
        self.folder, self.run = folder, run
        self.checkpoint_seconds = checkpoint_seconds
        self.n_rows = n_rows
        self.epoch = 0
        self.epochs: list[dict[str, float]] = []
        self.best_loss, self.best_weights = math.inf, None
        self._restored: dict[str, dict[str, Any]] = {}
        self._written, self._write_seconds = time.perf_counter(), 0.0

    def restore(self, model: keras.Model, checkpoint: Checkpoint) -> tuple[int, bool]:
        """Bring model, optimiser and this callback to where a checkpoint was.

        Returns
        -------
        epochs_done : int
            0, with a line in the log, if the checkpoint holds arrays of other shapes.
        stopped : bool
            Whether the run had ended early.
        """
        groups = _variables(model)
        expected = {name: [tuple(each.shape) for each in group] for name, group in groups.items()}
        found = {name: [each.shape for each in checkpoint.arrays.get(name, ())] for name in groups}
        best = [each.shape for each in checkpoint.arrays.get("best", ())]
        if found != expected or (best and best != [tuple(each.shape) for each in model.weights]):
            logger.info("the checkpoint belongs to another network: training starts anew")
            return 0, False
        for name, group in groups.items():
            for variable, value in zip(group, checkpoint.arrays[name], strict=True):
                variable.assign(value)
        self.best_weights = checkpoint.arrays["best"] or None
        self.best_loss = checkpoint.state["best_loss"]
        self.epochs = checkpoint.state["epochs"]
        self._restored = checkpoint.state["callbacks"]
        return len(self.epochs), checkpoint.state["stopped"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Give the other callbacks their memory back, which they have just cleared."""
        for callback in self.others:
            vars(callback).update(self._restored.get(type(callback).__name__, {}))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.epoch = epoch
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._improved = False
        self._started = self._ended = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Keep the time: validation does not count."""
        self._ended = time.perf_counter()

    def on_test_end(self, logs: dict | None = None) -> None:
        """Keep the weights if they are the best so far."""
        loss = float(logs[BARE_LOSS])
        if loss < self.best_loss:
            self.best_loss, self._improved = loss, True
            self.best_weights = [weight.numpy() for weight in self.model.weights]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Record the epoch, and write a checkpoint if it is time."""
        logs = {name: value for name, value in logs.items() if name != "learning_rate"}
        # Keras's val_loss has the penalty, which says nothing of new rows.
        logs.pop(BARE_LOSS)
        if f"val_{BARE_LOSS}" in logs:
            logs["val_loss"] = logs.pop(f"val_{BARE_LOSS}")
        values = {"epoch": epoch + 1, **physical(logs, self.target_names, self.target_scales)}
        values["learning_rate"] = self._rate
        seconds = self._ended - self._started
        logger.info(
            "%s, %.1f s, %.0f rows/s",
            progress_line(values, self.params["epochs"], self._improved),
            seconds,
            self.n_rows / max(seconds, 1e-9),
        )
        if not all(map(math.isfinite, values.values())):
            raise InputError(
                f"the loss became NaN or infinite in epoch {epoch + 1}; lower learning_rate, set "
                "clip_norm, or scale the inputs"
            )
        self.epochs.append(values)
        if self.folder is not None and self._is_due():
            self._write()

    def _is_due(self) -> bool:
        wait = max(self.checkpoint_seconds, SECONDS_PER_WRITE * self._write_seconds)
        return time.perf_counter() - self._written >= wait

    def _write(self) -> None:
        started = time.perf_counter()
        state = {
            "best_loss": self.best_loss,
            "epochs": self.epochs,
            "stopped": self.model.stop_training,
            "callbacks": {
                type(each).__name__: {
                    name: None if (value := getattr(each, name)) is None else float(value)
                    for name in _REMEMBERED[type(each).__name__]
                }
                for each in self.others
            },
        }
        arrays: dict[str, Iterable[Any]] = {
            name: (variable.numpy() for variable in variables)
            for name, variables in _variables(self.model).items()
        }
        arrays["best"] = self.best_weights or []
        write_checkpoint(self.folder, state, arrays, self.run)
        self._written = time.perf_counter()
        self._write_seconds = self._written - started
        logger.info("checkpoint written in %.1f s", self._write_seconds)


def _variables(model: keras.Model) -> dict[str, list[Any]]:
    """Name all that changes in training: weights, states of dropout and noise, the optimiser."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return {
        "model": [variable for variable in model.variables if id(variable) not in metrics],
        "optimizer": list(model.optimizer.variables),
    }
