"""Choose what a network is trained on, before TensorFlow starts."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starstack.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "gpu")
# The first generation of NVIDIA GPUs (Ampere) that computes in bfloat16, whose range is that of
# float32, so that gradients need no scaling.
BFLOAT16_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Device:
    """What a network is trained on.

    Attributes
    ----------
    kind : str
        ``cpu`` or ``gpu``.
    names : tuple of str
        TensorFlow's names of the devices that share each batch.
    strategy : tf.distribute.Strategy
        In whose scope the network is built and trained.
    dtype : str
        Keras's dtype policy: ``float32``, ``mixed_bfloat16`` or ``mixed_float16``.
    jit_compile : bool
        Compile the training step with XLA.
    """

    kind: str
    names: tuple[str, ...]
    strategy: "tf.distribute.Strategy"
    dtype: str
    jit_compile: bool


def configure_device(
    device: str = "auto",
    *,
    threads: int | None = None,
    n_devices: int | None = 1,
    deterministic: bool | None = None,
    tf32: bool = False,
    mixed_precision: bool = False,
    jit_compile: bool | None = None,
) -> Device:
    """Set up TensorFlow for this process; call it before anything else uses TensorFlow.

    GPU memory is taken as it is needed, not all at once.

    Parameters
    ----------
    device : str
        ``auto`` takes GPUs where there are any, ``cpu`` and ``gpu`` only those.
    threads : int, optional
        Size of the pool that computes, by default one thread per core.
    n_devices : int, optional
        Devices that share each batch; all that are visible if None. The CPU counts as one, and is
        divided into logical devices if more are asked for.
    deterministic : bool, optional
        Allow only operations that give the same bits in every run; by default on a CPU, not on a
        GPU, where they are slower.
    tf32 : bool
        Let matrix products on a GPU round their inputs to 10 bits of mantissa.
    mixed_precision : bool
        Compute in bfloat16, or in float16 on GPUs that lack it. Weights and outputs stay float32.
    jit_compile : bool, optional
        Compile the training step with XLA; by default on a single GPU. On a CPU the products
        take as long with it and Adam's step takes longer, see `starstack.networks.optimizers`.

    Returns
    -------
    Device
        For `starstack.networks.training.train_network`.

    Raises
    ------
    InputError
        If there is no such device, or TensorFlow has already started with other settings.
    """
    import tensorflow as tf

    if device not in DEVICES:
        raise InputError(f"device: expected one of {', '.join(DEVICES)}; got {device!r}")
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise InputError(_no_gpu())
    kind = "gpu" if gpus else "cpu"
    wanted = n_devices or max(len(gpus), 1)
    if gpus and wanted > len(gpus):
        raise InputError(
            f"device: n_devices is {wanted}, but {len(gpus)} GPU(s) are visible "
            f"({_names(gpus)}); lower n_devices"
        )
    try:
        _start(gpus[:wanted], wanted, threads)
    except RuntimeError as error:
        raise InputError(
            f"device: TensorFlow has already started with other settings ({error}); call "
            "configure_device before anything else uses TensorFlow, once per process"
        ) from error
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    if deterministic if deterministic is not None else kind == "cpu":
        tf.config.experimental.enable_op_determinism()
    names = tuple(each.name for each in tf.config.list_logical_devices(kind.upper()))[:wanted]
    strategy = tf.distribute.MirroredStrategy(names) if wanted > 1 else tf.distribute.get_strategy()
    chosen = Device(
        kind=kind,
        names=names,
        strategy=strategy,
        dtype=_mixed(gpus[:wanted]) if mixed_precision else "float32",
        jit_compile=(kind == "gpu" and wanted == 1) if jit_compile is None else jit_compile,
    )
    logger.info(
        "networks are trained on %s (%s), in %s, %s XLA, with %s thread(s)",
        kind,
        _names(gpus[:wanted]) if gpus else f"{wanted} device(s)",
        chosen.dtype,
        "with" if chosen.jit_compile else "without",
        threads or os.cpu_count(),
    )
    return chosen


def _start(gpus: list, n_devices: int, threads: int | None) -> None:
    """Set what TensorFlow takes only before its first operation."""
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus and n_devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(n_devices)]
        tf.config.set_logical_device_configuration(cpu, parts)


def _mixed(gpus: list) -> str:
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    capable = all(each.get("compute_capability", (0, 0)) >= BFLOAT16_CAPABILITY for each in details)
    return "mixed_bfloat16" if capable else "mixed_float16"


def _names(gpus: list) -> str:
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return ", ".join(str(each.get("device_name", "GPU")) for each in details)


def _no_gpu() -> str:
    """Say what was looked at, in one line."""
    import tensorflow as tf

    built = "was built with CUDA" if tf.test.is_built_with_cuda() else "was built without CUDA"
    driver = Path("/proc/driver/nvidia/version").exists()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = [
        f"TensorFlow {tf.__version__} {built}",
        "an NVIDIA driver is loaded" if driver else "no NVIDIA driver is loaded",
        *([f"CUDA_VISIBLE_DEVICES is {hidden!r}"] if hidden is not None else []),
    ]
    return (
        f"device: gpu was asked for, but TensorFlow sees none ({'; '.join(seen)}); install "
        "starstack[gpu] and the driver of the GPU, or set device: cpu"
    )
