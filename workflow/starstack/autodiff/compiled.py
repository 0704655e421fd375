"""Functions compiled once: by XLA where it can, else by TensorFlow alone."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from starstack.errors import InputError

logger = logging.getLogger(__name__)


class Compiled:
    """A function of tensors of fixed shapes, traced at its first call and not again.

    XLA has no second derivative of max-pooling in float64, among others. Its refusal, at the first
    call, is logged, and TensorFlow compiles instead.

    Parameters
    ----------
    function : callable
        Of tensors, or lists of them.
    name : str
        For the messages.
    jit_compile : bool, optional
        Use XLA, or do not; by default try.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, jit_compile: bool | None = None
    ) -> None:
        self._function, self._name, self._jit = function, name, jit_compile
        self._compiled: Any = None

    @property
    def jit_compile(self) -> bool | None:
        """Whether XLA compiled it; None before the first call, if that is to decide."""
        return self._jit

    @property
    def n_traces(self) -> int:
        """How often TensorFlow has traced what is in use."""
        return 0 if self._compiled is None else self._compiled.experimental_get_tracing_count()

    def __call__(self, *args: Any) -> Any:
        """Call the function; at the first call, compile it."""
        if self._compiled is not None:
            return self._compiled(*args)
        import tensorflow as tf

        try:
            return self._first(*args, jit_compile=self._jit is not False)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if self._jit is not None:
                raise
            reason = str(error).split("\n", 1)[0][:200]
            logger.info("%s: XLA cannot compile it (%s); compiled without", self._name, reason)
            return self._first(*args, jit_compile=False)
        except LookupError as error:
            raise InputError(
                f"{self._name}: TensorFlow cannot differentiate this model twice ({error}); "
                "replace the operation"
            ) from error

    def _first(self, *args: Any, jit_compile: bool) -> Any:
        import tensorflow as tf

        # TensorFlow warns of many traces of one method, though each is of another object's.
        own = partial(self._function)
        compiled = tf.function(own, jit_compile=jit_compile, autograph=False)
        result = compiled(*args)
        self._compiled, self._jit = compiled, jit_compile
        logger.info("%s: compiled %s XLA", self._name, "by" if jit_compile else "without")
        return result
