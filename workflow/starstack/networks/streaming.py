"""Rows of a data file as batches for training, in bounded memory, in an order that can be repeated.

Blocks of neighbouring rows are read in an order drawn for each epoch and poured into a buffer,
from which batches are drawn at random. Everything random in an epoch is a function of the seed and
the number of the epoch, so that a run that goes on in the middle sees the same batches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.data.dataset import Dataset
from starstack.data.noise_correlation import NoiseCorrelation
from starstack.errors import InputError
from starstack.networks.scaling import Scaler

if TYPE_CHECKING:
    import tensorflow as tf

# Rows read at once where nothing is shuffled.
BLOCK_ROWS = 256
# Read what lies between wanted rows too, unless it is more than so many times what is wanted.
SPARSE = 8

Table = Any  # of shape (n, p): an ndarray, or an array of an open HDF5 file
Batch = tuple[np.ndarray, ...]


def read_rows(table: Table, rows: np.ndarray) -> np.ndarray:
    """Read rows of a table in memory or in a file.

    Parameters
    ----------
    table : array or h5py dataset of shape (n, …)
        The table.
    rows : ndarray of int
        Positions in rising order.

    Returns
    -------
    ndarray of shape (len(rows), …)
        In the table's own type.
    """
    if isinstance(table, np.ndarray) or not len(rows):
        return table[rows]
    first, last = rows[0], rows[-1] + 1
    if last - first > SPARSE * len(rows):
        return table[rows]
    block = table[first:last]
    return block if len(block) == len(rows) else block[rows - first]


def iter_blocks(
    table: Table, rows: np.ndarray, block_rows: int = BLOCK_ROWS
) -> Iterator[np.ndarray]:
    """Read rows of a table in order, some at a time."""
    for start in range(0, len(rows), block_rows):
        yield read_rows(table, rows[start : start + block_rows])


def shuffled_batches(
    tables: Sequence[Table],
    rows: np.ndarray,
    rng: np.random.Generator,
    *,
    batch_size: int,
    block_rows: int = 128,
    buffer_rows: int = 4096,
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Draw rows of tables without replacement, in batches of exactly one size.

    Parameters
    ----------
    tables : sequence of array or h5py dataset of shape (n, …)
        Read side by side.
    rows : ndarray of int
        Positions in rising order. Those that fill no batch are left out; they are others in each
        pass.
    rng : Generator
        Decides the order of blocks, and which rows of the buffer make a batch.
    batch_size : int
        Rows of a batch; all rows if there are fewer.
    block_rows : int
        Neighbouring rows that are read at once.
    buffer_rows : int
        Rows that a batch is drawn from; of tables in a file, they are held in memory. If that is
        all of them, every order is equally likely.

    Yields
    ------
    positions : ndarray of int, shape (batch_size,)
        Which rows.
    values : list of ndarray of float32, shape (batch_size, …)
        Of each table; they may be changed in place.
    """
    batch_size = min(batch_size, len(rows))
    capacity = min(len(rows), max(buffer_rows, block_rows + batch_size))
    starts = rng.permutation(np.arange(0, len(rows), block_rows))
    waiting = [rows[start : start + block_rows] for start in starts[::-1]]
    held = np.empty(capacity, dtype=np.intp)
    # What is in memory needs no buffer: the first batch would wait until all of it is copied.
    buffers = [
        (np.empty((capacity, *table.shape[1:]), dtype=np.float32), table)
        for table in tables
        if not isinstance(table, np.ndarray)
    ]
    filled = 0
    for _ in range(len(rows) // batch_size):
        while waiting and filled + len(waiting[-1]) <= capacity:
            block = waiting.pop()
            place = slice(filled, filled + len(block))
            held[place] = block
            for buffer, table in buffers:
                buffer[place] = read_rows(table, block)
            filled = place.stop
        drawn = rng.choice(filled, batch_size, replace=False)
        positions, buffered = held[drawn], iter(buffers)
        yield (
            positions,
            [
                table[positions].astype(np.float32, copy=False)
                if isinstance(table, np.ndarray)
                else next(buffered)[0][drawn]
                for table in tables
            ],
        )
        # Rows from the end fill the holes, so that the next block goes behind them in one piece.
        filled -= batch_size
        holes = drawn[drawn < filled]
        moved = np.setdiff1d(np.arange(filled, filled + batch_size), drawn, assume_unique=True)
        for each in (held, *(buffer for buffer, _ in buffers)):
            each[holes] = each[moved]


@dataclass(frozen=True, eq=False)
class Noise:
    """Fresh noise at every step.

    Attributes
    ----------
    lowest, highest : float
        The noise of each row is multiplied by a factor drawn log-uniformly between these.
    correlation : NoiseCorrelation or None
        Of the noise of the values of a row.
    """

    lowest: float = 1.0
    highest: float = 1.0
    correlation: NoiseCorrelation | None = None

    def add(self, values: np.ndarray, error: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add Gaussian noise to values; where the error is infinite, the pixel is masked and stays.

        Parameters
        ----------
        values, error : ndarray of float32, shape (n, p)
            Values, and the standard deviation of the noise of each; both are overwritten.
        rng : Generator
            Where the noise comes from.

        Returns
        -------
        ndarray of float32, shape (n, p)
        """
        error[~np.isfinite(error)] = 0
        if (self.lowest, self.highest) != (1, 1):
            factor = np.exp(rng.uniform(np.log(self.lowest), np.log(self.highest), len(values)))
            error *= factor[:, None].astype(np.float32)
        noise = rng.standard_normal(values.shape, dtype=np.float32)
        error *= noise if self.correlation is None else self.correlation.colour(noise)
        values += error
        return values


@dataclass(frozen=True, eq=False)
class Stream:
    """The training rows of a data set, as batches of scaled inputs, targets and weights.

    Attributes
    ----------
    dataset : Dataset
        From `starstack.data.store.open_dataset`, or in memory.
    rows : ndarray of int
        Training rows, positions in rising order.
    targets : ndarray of shape (n, …)
        Scaled targets or class codes of all rows of the data set.
    weights : ndarray of shape (n,) or None
        Weights of all rows of the data set.
    input_scaler : Scaler
        Of the inputs.
    input_shape : tuple of int
        Shape of one row as the network takes it.
    seed : int
        Decides, with the number of the epoch, everything random.
    batch_size, block_rows, buffer_rows : int
        See `shuffled_batches`.
    noise : Noise or None
        Added to the noise-free values where the data have them, otherwise to the observed ones.
    n_devices : int
        Devices that share each batch: TensorFlow refuses a batch that they cannot share evenly, so
        batches are of a multiple of so many rows. More than one need `weights`.
    """

    dataset: Dataset
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    input_scaler: Scaler
    input_shape: tuple[int, ...]
    seed: int
    batch_size: int
    block_rows: int = 128
    buffer_rows: int = 4096
    noise: Noise | None = None
    n_devices: int = 1

    def __post_init__(self) -> None:
        if not self.batch_rows:
            raise InputError(
                f"data of {self.dataset.name!r}: {len(self.rows)} rows to train on in batches of "
                f"{self.batch_size}, which {self.n_devices} devices cannot share; lower n_devices"
            )
        if self.noise is not None and self.dataset.X_error is None:
            raise InputError(
                f"data of {self.dataset.name!r}: noise is to be drawn at every step, but the data "
                "hold no errors of X; set noise: false, or give the errors"
            )

    @property
    def batch_rows(self) -> int:
        """Rows of a batch."""
        return min(self.batch_size, len(self.rows)) // self.n_devices * self.n_devices

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        return len(self.rows) // self.batch_rows

    @property
    def block_size(self) -> int:
        """Rows of a batch of `batches_in_order`."""
        return -(-BLOCK_ROWS // self.n_devices) * self.n_devices

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield (inputs, targets) or (inputs, targets, weights) of one epoch."""
        order, noise = _generators(self.seed, epoch)
        tables = [self.dataset.X]
        if self.noise is not None:
            clean = self.dataset.X_noiseless
            tables = [self.dataset.X if clean is None else clean, self.dataset.X_error]
        for positions, (values, *error) in shuffled_batches(
            tables,
            self.rows,
            order,
            batch_size=self.batch_rows,
            block_rows=self.block_rows,
            buffer_rows=self.buffer_rows,
        ):
            if self.noise is not None:
                values = self.noise.add(values, *error, noise)
            yield self._batch(values, positions)

    def batches_in_order(self, rows: np.ndarray) -> Iterator[Batch]:
        """Yield batches of some rows in order, as observed; the last one may be smaller.

        What the devices lack to share it is filled up with its last row, of weight zero.
        """
        for start in range(0, len(rows), self.block_size):
            positions = rows[start : start + self.block_size]
            values = read_rows(self.dataset.X, positions).astype(np.float32)
            batch = self._batch(values, positions)
            if missing := -len(positions) % self.n_devices:
                batch = tuple(
                    np.concatenate([each, each[-1:].repeat(missing, 0)]) for each in batch
                )
                batch[-1][-missing:] = 0
            yield batch

    def _batch(self, values: np.ndarray, positions: np.ndarray) -> Batch:
        values -= np.float32(self.input_scaler.mean)
        values *= np.float32(1 / self.input_scaler.scale)
        inputs = values.reshape(len(values), *self.input_shape)
        if self.weights is None:
            return inputs, self.targets[positions]
        return inputs, self.targets[positions], self.weights[positions]

    def as_tensorflow(
        self, batches: Callable[[], Iterator[Batch]], n_batches: int
    ) -> "tf.data.Dataset":
        """Read batches ahead on a thread of their own.

        More threads would only take the cores from the arithmetic: ``fit`` on two cores was seen
        to fall to half its speed.

        Parameters
        ----------
        batches : callable
            Starts an epoch: `batches` of its number, or `batches_in_order`.
        n_batches : int
            How many it gives.
        """
        import tensorflow as tf

        signature = [
            tf.TensorSpec((None, *self.input_shape), tf.float32),
            tf.TensorSpec((None, *self.targets.shape[1:]), self.targets.dtype),
        ]
        if self.weights is not None:
            signature.append(tf.TensorSpec((None,), self.weights.dtype))
        options = tf.data.Options()
        options.threading.private_threadpool_size = 1
        options.threading.max_intra_op_parallelism = 1
        options.autotune.enabled = False
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        dataset = tf.data.Dataset.from_generator(batches, output_signature=tuple(signature))
        counted = dataset.apply(tf.data.experimental.assert_cardinality(n_batches))
        return counted.prefetch(2).with_options(options)


def _generators(seed: int, epoch: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Make the generators of order and of noise, so that noise does not change the order."""
    children = np.random.SeedSequence([seed, epoch]).spawn(2)
    # Of NumPy's generators the quickest for normal deviates: 64 × 7213 of them in 3.4 ms, where
    # TensorFlow's stateless ones take 6 to 8.
    order, noise = (np.random.Generator(np.random.SFC64(child)) for child in children)
    return order, noise
