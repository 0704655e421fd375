"""Train the network of a study from its data file, in bounded memory."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.data.dataset import Dataset
from starstack.data.noise_correlation import correlation_of
from starstack.errors import InputError
from starstack.models.classes import one_line
from starstack.networks.checkpoints import fingerprint, read_checkpoint
from starstack.networks.device import Device
from starstack.networks.heads import Head, head_of, make_network
from starstack.networks.history import history_table
from starstack.networks.holdout import validation_rows
from starstack.networks.options import LOSSES, TrainingOptions
from starstack.networks.persistence import FittedNetwork, _check_parts
from starstack.networks.scaling import Scaler, fit_scaler
from starstack.networks.streaming import Noise, Stream, iter_blocks
from starstack.seeds import derive_seed

if TYPE_CHECKING:
    import keras
    import pandas as pd

logger = logging.getLogger(__name__)

# Steps that one call from Python runs: between calls, small networks wait for Python.
STEPS_PER_CALL = 8
# Errors of each target are followed in training if there are not too many of them.
MAX_FOLLOWED_TARGETS = 10


def train_network(
    dataset: Dataset,
    train_rows: np.ndarray,
    options: TrainingOptions,
    *,
    build: "str | Callable[..., keras.Model]",
    build_params: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    seed: int,
    device: Device | None = None,
    checkpoint_folder: str | Path | None = None,
    allowed_packages: Sequence[str] = ("starstack",),
) -> "tuple[FittedNetwork, pd.DataFrame]":
    """Train a network on some rows of a data set.

    With a folder for checkpoints, a run that was killed goes on from its last one, and ends with
    the weights of an undisturbed run. With validation rows, the weights of the epoch with the
    smallest loss on them are kept.

    Parameters
    ----------
    dataset : Dataset
        From `starstack.data.store.open_dataset`, or in memory.
    train_rows : ndarray of int
        Training rows of the split; `validation_rows` are taken from them.
    options : TrainingOptions
        How.
    build, build_params, allowed_packages
        See `starstack.networks.heads.make_network`.
    input_shape : sequence of int, optional
        Shape of one row as the network takes it, by default ``(p,)``.
    seed : int
        Decides all that is random.
    device : Device, optional
        From `starstack.networks.device.configure_device`; what TensorFlow takes by default if
        None.
    checkpoint_folder : path, optional
        Where checkpoints are written and looked for.

    Returns
    -------
    network : FittedNetwork
        In single precision, whatever it was trained in.
    history : DataFrame
        See `starstack.networks.history.history_table`: ``loss`` as it was minimised, with dropout,
        noise and penalties; ``val_loss`` without; ``learning_rate`` at the start of the epoch;
        ``rmse_<target>`` in the units of the target, or ``accuracy``.

    Raises
    ------
    InputError
        If the data do not have what the options ask for, the network could not be stored, or the
        loss becomes NaN.
    """
    import keras

    from starstack.networks.callbacks import Recorder

    fit_rows, held_out = validation_rows(dataset, train_rows, options.validation_fraction, seed)
    regression = dataset.task == "regression"
    n_outputs = dataset.n_targets if regression else len(dataset.classes)
    head = head_of(dataset.task, n_outputs)
    shape = tuple(dataset.X.shape[1:] if input_shape is None else input_shape)
    if np.prod(shape) != np.prod(dataset.X.shape[1:]):
        raise InputError(
            f"input_shape {list(shape)} holds {np.prod(shape)} values, a row of X has "
            f"{np.prod(dataset.X.shape[1:])}; correct input_shape"
        )
    n_devices = len(device.names) if device else 1
    stream, target_scaler = _stream(dataset, fit_rows, shape, options, seed, n_devices)
    network = partial(
        make_network,
        build,
        build_params,
        input_shape=shape,
        task=dataset.task,
        n_outputs=n_outputs,
        seed=derive_seed(seed, "weights"),
        allowed_packages=allowed_packages,
    )
    names = dataset.target_names if regression else ()
    others = _callbacks(options) if len(held_out) else []
    trainer = _compiled(network, head, options, stream.n_batches, device, len(names))
    run = fingerprint(
        {
            "data": dataset.provenance.get("data_sha256") or dataset.sha256(),
            "rows": hashlib.sha256(np.sort(train_rows).astype("<i8").tobytes()).hexdigest(),
            # When checkpoints are written decides nothing.
            "options": dataclasses.asdict(options) | {"checkpoint_seconds": None},
            "batch_rows": stream.batch_rows,
            "network": _architecture(trainer),
            "seed": seed,
            "keras": keras.__version__,
        }
    )
    recorder = Recorder(
        others,
        target_names=names,
        target_scales=np.broadcast_to(target_scaler.scale, len(names)),
        folder=checkpoint_folder,
        run=run,
        checkpoint_seconds=options.checkpoint_seconds,
        n_rows=stream.n_batches * stream.batch_rows,
    )
    done, stopped = 0, False
    found = None if checkpoint_folder is None else read_checkpoint(checkpoint_folder, run)
    if found is not None:
        done, stopped = recorder.restore(trainer, found)
    if done:
        logger.info("training goes on after epoch %d of %d", done, options.epochs)
    logger.info(
        "%d weights; %d rows to train on in %d steps of %d, %d to validate with",
        trainer.count_params(),
        len(fit_rows),
        stream.n_batches,
        stream.batch_rows,
        len(held_out),
    )
    validation = None
    if len(held_out):
        validation = stream.as_tensorflow(
            lambda: stream.batches_in_order(held_out), -(-len(held_out) // stream.block_size)
        )
    swap = [] if options.average_momentum is None else [keras.callbacks.SwapEMAWeights()]
    trainer.fit(
        stream.as_tensorflow(lambda: stream.batches(recorder.epoch), stream.n_batches),
        epochs=options.epochs,
        initial_epoch=options.epochs if stopped else done,
        validation_data=validation,
        shuffle=False,
        callbacks=[*others, recorder, *swap],
        verbose=0,
    )
    # Built anew, outside of any strategy and in single precision, and free of the optimiser.
    model = network(dtype="float32")
    model.set_weights(recorder.best_weights or trainer.get_weights())
    best = min(recorder.epochs, key=lambda each: each.get("val_loss", -each["epoch"]))
    fitted = FittedNetwork(
        model=model,
        task=dataset.task,
        target_names=tuple(names),
        classes=() if regression else tuple(dataset.classes),
        input_shape=shape,
        input_scaler=stream.input_scaler,
        target_scaler=target_scaler,
        provenance={"epochs": len(recorder.epochs), "best_epoch": best["epoch"], "run": run},
        # Pixels are known by their place, and are too many to name.
        feature_names=() if _are_spectra(dataset) else tuple(dataset.feature_names),
    )
    return fitted, history_table(recorder.epochs)


def _are_spectra(dataset: Dataset) -> bool:
    return dataset.wavelength is not None or dataset.X_error is not None


def _stream(
    dataset: Dataset,
    rows: np.ndarray,
    shape: tuple[int, ...],
    options: TrainingOptions,
    seed: int,
    n_devices: int,
) -> tuple[Stream, Scaler]:
    """Learn the scales on the rows that are trained on, and lay out the input."""
    weights = dataset.sample_weight
    blocks = None if weights is None else iter_blocks(weights, rows)
    input_scaler = fit_scaler(iter_blocks(dataset.X, rows), options.scale_inputs, blocks)
    if dataset.task == "regression":
        y = dataset.y.reshape(len(dataset.y), -1)
        counts = None if weights is None else [weights[rows]]
        target_scaler = fit_scaler([y[rows]], "per_feature", counts)
        targets = target_scaler.transform(y).astype(np.float32)
    else:
        target_scaler, targets = Scaler(0.0, 1.0), dataset.y.astype(np.int32)
    if weights is None and n_devices > 1:
        weights = np.ones(len(targets))  # for the rows that fill up a batch
    stream = Stream(
        dataset=dataset,
        rows=rows,
        targets=targets,
        weights=None if weights is None else (weights / weights[rows].mean()).astype(np.float32),
        input_scaler=input_scaler,
        input_shape=shape,
        seed=derive_seed(seed, "order and noise"),
        batch_size=options.batch_size,
        block_rows=options.block_rows,
        buffer_rows=options.buffer_rows,
        noise=Noise(*options.noise_scale, correlation_of(dataset)) if options.noise else None,
        n_devices=n_devices,
    )
    return stream, target_scaler


def _compiled(
    network: "Callable[..., keras.Model]",
    head: Head,
    options: TrainingOptions,
    steps: int,
    device: Device | None,
    n_followed: int,
) -> "keras.Model":
    """Build a network with its optimiser and losses, on the device."""
    import keras
    import tensorflow as tf

    from starstack.networks.callbacks import BARE_LOSS
    from starstack.networks.optimizers import make_adam

    n_devices = len(device.names) if device else 1
    if options.batch_size % n_devices:
        raise InputError(
            f"batch_size is {options.batch_size}, which {n_devices} devices cannot share; take a "
            f"multiple of {n_devices}"
        )
    jit = bool(device and device.jit_compile)
    rate: Any = options.learning_rate
    if options.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate,
            decay_steps=options.epochs * steps,
            alpha=options.final_learning_rate / options.learning_rate,
        )
    loss = getattr(keras.losses, LOSSES[options.loss] if _is_chosen(options, head) else head.loss)
    metrics = [keras.metrics.MeanMetricWrapper(loss(reduction=None), name=BARE_LOSS)]
    if n_followed == 0:
        metrics.append(getattr(keras.metrics, head.metric)(name="accuracy"))
    elif n_followed <= MAX_FOLLOWED_TARGETS:
        metrics += [
            keras.metrics.MeanMetricWrapper(partial(_squared_error, at), name=f"mse_{at}")
            for at in range(n_followed)
        ]
    with (device.strategy if device else tf.distribute.get_strategy()).scope():
        built = network(dtype=device.dtype if device else "float32")
        trainer = keras.Model(built.inputs[0], built.outputs[0])
        trainer.compile(
            make_adam(
                compiled=jit,
                learning_rate=rate,
                beta_1=options.beta_1,
                beta_2=options.beta_2,
                epsilon=options.epsilon,
                global_clipnorm=options.clip_norm,
                use_ema=options.average_momentum is not None,
                ema_momentum=options.average_momentum or 0.99,
            ),
            loss=loss(),
            weighted_metrics=metrics,
            jit_compile=jit,
            steps_per_execution=1 if n_devices > 1 else min(STEPS_PER_CALL, steps),
        )
        trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def _architecture(model: "keras.Model") -> dict[str, Any]:
    """Describe all layers; refuse what could not be stored before it is trained for hours."""
    import keras

    bare = keras.Model(model.inputs[0], model.outputs[0], name="network")
    try:
        config = json.loads(bare.to_json())
    except NotImplementedError as error:
        raise InputError(
            f"this network: cannot be stored ({one_line(error)[:200]}); give the layer a get_config"
        ) from error
    _check_parts(config, "this network")
    return config


def _is_chosen(options: TrainingOptions, head: Head) -> bool:
    return options.loss is not None and head.activation == "linear"


def _squared_error(column: int, y_true: Any, y_pred: Any) -> Any:
    import keras

    return keras.ops.square(y_true[:, column] - y_pred[:, column])


def _callbacks(options: TrainingOptions) -> "list[keras.callbacks.Callback]":
    """Make Keras's callbacks that look at the loss on the validation rows."""
    import keras

    from starstack.networks.callbacks import BARE_LOSS

    judged = {"monitor": f"val_{BARE_LOSS}", "mode": "min", "min_delta": options.min_delta}
    found: list[keras.callbacks.Callback] = []
    if options.schedule == "reduce_on_plateau":
        found.append(
            keras.callbacks.ReduceLROnPlateau(
                factor=options.plateau_factor,
                patience=options.plateau_patience,
                min_lr=options.final_learning_rate,
                **judged,
            )
        )
    if options.patience is not None:
        found.append(keras.callbacks.EarlyStopping(patience=options.patience, **judged))
    return found
