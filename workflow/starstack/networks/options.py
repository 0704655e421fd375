"""How a network is trained: what a config may say, and its defaults."""

from collections.abc import Sequence
from dataclasses import dataclass

from starstack.errors import InputError

SCHEDULES = ("constant", "cosine", "reduce_on_plateau")
LOSSES = {
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "huber": "Huber",
}


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; the names and defaults of the config's section ``training``.

    Attributes
    ----------
    epochs : int
        Passes over the training rows, at most.
    batch_size : int
        Rows of a step, of all devices together.
    learning_rate, beta_1, beta_2, epsilon : float
        Of the Adam optimiser.
    loss : str or None
        Of a regression, a key of `LOSSES`, on standardised targets; the squared error if None.
        Classes have the cross-entropy.
    schedule : str
        ``constant``; ``cosine``: half a cosine over all steps; ``reduce_on_plateau``: times
        `plateau_factor` after more than `plateau_patience` epochs without progress.
    final_learning_rate : float
        Where ``cosine`` ends, and the least of ``reduce_on_plateau``.
    plateau_factor : float
        See `schedule`.
    plateau_patience : int
        See `schedule`.
    patience : int or None
        Epochs without progress after which training stops; never if None.
    min_delta : float
        By how much the loss on validation rows must fall to be progress.
    validation_fraction : float
        Share of the training rows that progress is judged on.
    scale_inputs : str
        See `starstack.networks.scaling.fit_scaler`.
    noise : bool
        Draw fresh noise at every step, see `starstack.networks.streaming.Stream`.
    noise_scale : (float, float)
        The noise of a row is multiplied by a factor drawn log-uniformly between these.
    clip_norm : float or None
        Largest norm of the gradient of all weights together.
    average_momentum : float or None
        Use an exponential moving average of the weights, of which this share stays in a step.
    buffer_rows, block_rows : int
        See `starstack.networks.streaming.shuffled_batches`.
    checkpoint_seconds : float
        Seconds between checkpoints, at least. One is written at the end of each epoch, unless
        writing the last one took more than 5 % of the time since; the results do not depend on it.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 8e-4
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    loss: str | None = None
    schedule: str = "constant"
    final_learning_rate: float = 0.0
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    patience: int | None = None
    min_delta: float = 0.0
    validation_fraction: float = 0.1
    scale_inputs: str = "common"
    noise: bool = False
    noise_scale: Sequence[float] = (1.0, 1.0)
    clip_norm: float | None = None
    average_momentum: float | None = None
    buffer_rows: int = 4096
    block_rows: int = 128
    checkpoint_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("schedule", self.schedule, SCHEDULES),
            ("loss", self.loss, (None, *LOSSES)),
        ):
            if value not in known:
                shown = ", ".join("null" if each is None else each for each in known)
                raise InputError(f"training: {name} is {value!r}; expected one of {shown}")
        if not 0 < self.noise_scale[0] <= self.noise_scale[1]:
            raise InputError(
                f"training: noise_scale is {list(self.noise_scale)}; expected two positive "
                "factors, the smaller one first"
            )
        judged = self.patience is not None or self.schedule == "reduce_on_plateau"
        if judged and not self.validation_fraction:
            raise InputError(
                "training: patience and reduce_on_plateau look at validation rows, but "
                "validation_fraction is 0; set it to 0.1, say"
            )
