"""Loss, gradient, and products with Hessian, Gauss–Newton matrix and Jacobian over a data set."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batch, Batches, as_batches
from starstack.autodiff.compiled import Compiled
from starstack.autodiff.dense_stack import dense_stack
from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.inference import (
    check_model,
    check_no_mask,
    check_one_input,
    has_logits,
    inference_function,
    input_dtype,
    warn_of_tf32,
)
from starstack.autodiff.kernels import Kernels
from starstack.autodiff.losses import (
    RowLoss,
    check_rows_apart,
    resolve_loss,
    resolve_reduction,
)
from starstack.autodiff.penalties import Penalties
from starstack.autodiff.transfer import Staging, Sum
from starstack.autodiff.vocabulary import check_tokens, has_vocabulary
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Weights of a stack of Dense layers from which on it is compiled without XLA, whose product with a
# transposed matrix reaches half the rate of TensorFlow's: 47 against 88 GFLOP/s on one core, (256,
# 1024) with (1024, 2048). A gradient of 18 million weights takes 0.91 times as long without.
LARGE = 1_000_000


class Products:
    """Products with the derivatives of a model's loss over a data set, without the matrices.

    With outputs z_i = f(x_i, θ) and weights w_i the loss is L(θ) = Σ_i w_i l(y_i, z_i) / N, N the
    number of rows (Keras's mean), 1 (``sum``), or Σ_i w_i (``weighted_mean``). Batches are summed
    in float64, in the data's order. Everything is compiled once, at its first use.

    Where the loss is a cross-entropy and the model ends in a sigmoid or a softmax, z are the
    logits: Keras computes the loss of them too, and the Gauss–Newton matrix is the Fisher
    information only with this split (Martens 2020, J. Mach. Learn. Res. 21(146), section 9.2).

    Parameters
    ----------
    model : keras.Model
        A built model of one input and one output. It runs in inference mode.
    loss : str, keras.losses.Loss or callable
        See `starstack.autodiff.losses.resolve_loss`.
    data : Batches, or (X, y) or (X, y, sample_weight)
        What the model takes and is trained on.
    reduction : str, optional
        ``mean``, ``sum`` or ``weighted_mean``; the loss's own by default, which is Keras's mean
        unless a Loss says otherwise.
    regularization : bool
        Add the penalties of the layers' weight regularizers, as Keras does in training, once and
        whatever the reduction. They are part of the loss, its gradient and Hessian, and of the
        Gauss–Newton products (by their own Hessian). Off by default: the curvature of the data
        is what a posterior combines with its prior.
    jit_compile : bool, optional
        Compile by XLA; by default where it can, but for large stacks of Dense layers.

    Attributes
    ----------
    parameters : FlatParameters
        The weights as one vector.
    row_loss : RowLoss
        The loss as a function of z.
    splits_at_logits : bool
        Whether z are logits that the model itself does not return.
    batches : Batches
        The data.

    Raises
    ------
    InputError
        If the model is random or stateful in inference mode, loss and data do not fit it (tokens
        beyond a vocabulary among them), the loss of a row changes with the other rows, or a
        mask leaves part of the outputs out of the loss.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> products = Products(model, "mse", (X, np.zeros(2)))
    >>> products.hessian_vector_product([1.0, 0.0])  # 2/N XᵀX e₀
    array([10., 14.])
    """

    def __init__(
        self,
        model: "keras.Model",
        loss: "str | keras.losses.Loss | Callable | RowLoss",
        data: Batches | tuple,
        reduction: str | None = None,
        *,
        regularization: bool = False,
        jit_compile: bool | None = None,
    ) -> None:
        check_one_input(model)
        self.model, self.parameters = model, FlatParameters(model)
        self.batches = as_batches(data)
        if not self.batches.has_targets:
            raise InputError("data has no targets; a loss needs them")
        self._loss = row_loss = resolve_loss(loss)
        self.reduction = resolve_reduction(reduction, row_loss)
        row_loss = row_loss.reduced(self.reduction)
        self.regularization = regularization
        if self.reduction == "weighted_mean" and not self.batches.total_weight:
            raise InputError("all sample weights are zero; their weighted mean means nothing")
        self._x_dtype = input_dtype(model, self.parameters.dtype)
        trial = next(iter(self.batches))
        x = trial.x.astype(self._x_dtype)
        self._has_vocabulary = has_vocabulary(model)
        self._check_tokens(self.batches)
        check_model(model, x)
        check_no_mask(model, x)
        warn_of_tf32()
        self.splits_at_logits = row_loss.logits_function is not None and has_logits(model, x)
        self.row_loss = row_loss.on_logits() if self.splits_at_logits else row_loss
        self.kernels = Kernels(
            inference_function(model, logits=self.splits_at_logits),
            self.row_loss,
            tuple(self.parameters.variables),
        )
        outputs = self.kernels.outputs(x)
        self._z_dtype = outputs.dtype.as_numpy_dtype
        self._n_classes = outputs.shape[-1]
        self._keeps_whole = False
        self._try_loss(trial.y, outputs)
        if jit_compile is None and self.parameters.size > LARGE and dense_stack(model) is not None:
            jit_compile = False
        self._compiled = {
            name: Compiled(getattr(self.kernels, name), name.replace("_", " "), jit_compile)
            for name in (
                "outputs",
                "loss",
                "gradient",
                "hessian_product",
                "gauss_newton_product",
                "jacobian_product",
                "transposed_product",
            )
        }
        self._staging = Staging(self.parameters)
        self._penalties = Penalties(model, jit_compile) if regularization else None

    @property
    def n_traces(self) -> dict[str, int]:
        """How often each compiled function was traced."""
        return {name: compiled.n_traces for name, compiled in self._compiled.items()}

    @property
    def has_penalties(self) -> bool:
        """Whether the loss includes the penalty of any weight."""
        return bool(self._penalties)

    @property
    def scale(self) -> float:
        """What the sum over rows is multiplied with: 1/N, 1, or one over the sum of weights."""
        return {
            "mean": 1 / self.batches.n_rows,
            "sum": 1.0,
            "weighted_mean": 1 / (self.batches.total_weight or 1.0),
        }[self.reduction]

    def over(self, data: Batches | tuple) -> "Products":
        """Return the same products over other data; batches of equal size share what is compiled.

        The loss keeps its reduction, but N and the weights are those of the other data.
        """
        other = object.__new__(Products)
        other.__dict__ |= self.__dict__
        other.batches = as_batches(data)
        if not other.batches.has_targets:
            raise InputError("data has no targets; a loss needs them")
        if other.batches is not self.batches:
            self._check_tokens(other.batches)
        return other

    def of(self, model: "keras.Model") -> "Products":
        """Return the products of another model over the same data, compiled without XLA."""
        return Products(
            model,
            self._loss,
            self.batches,
            self.reduction,
            regularization=self.regularization,
            jit_compile=False,
        )

    def without_penalties(self) -> "Products":
        """Return the products of the data's part of the loss."""
        other = self.over(self.batches)
        other.regularization, other._penalties = False, None
        return other

    def loss(self, flat: np.ndarray | None = None) -> float:
        """Return the loss, at other weights if they are given; the model keeps its own."""
        with self.parameters.at(flat):
            total = 0.0
            for batch in self.batches:
                total += float(self._compiled["loss"](*self.tensors(batch)))
            penalty = self._penalties.loss_and_gradient()[0] if self._penalties else 0.0
            return self.scale * total + penalty

    def loss_and_gradient(self, flat: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient, shape (P,), in one pass."""
        with self.parameters.at(flat):
            total, gradient = 0.0, Sum(self.parameters)
            for batch in self.batches:
                value, parts = self._compiled["gradient"](*self.tensors(batch))
                total += float(value)
                gradient.add(parts)
            total, gradient = self.scale * total, gradient.times(self.scale)
            if self._penalties:
                penalty, slope = self._penalties.loss_and_gradient()
                total, gradient = total + penalty, gradient + slope
            return total, gradient

    def gradient(self, flat: np.ndarray | None = None) -> np.ndarray:
        """Return the gradient, float64 of shape (P,)."""
        return self.loss_and_gradient(flat)[1]

    def hessian_vector_product(self, v: np.ndarray) -> np.ndarray:
        """Return H v, H = ∂²L/∂θ∂θᵀ; v and the result of shape (P,) or (P, m)."""
        return self._matrix_product("hessian_product", v)

    def gauss_newton_vector_product(self, v: np.ndarray) -> np.ndarray:
        """Return G v, G = scale · Σ_i w_i J_iᵀ Λ_i J_i; v and the result of shape (P,) or (P, m).

        J_i = ∂z_i/∂θ and Λ_i = ∂²l_i/∂z_i∂z_iᵀ, positive semidefinite for convex losses.
        """
        return self._matrix_product("gauss_newton_product", v)

    def check_finite(self, *, gradient: bool = False) -> None:
        """Refuse data at which the loss, or on request its gradient, is NaN or infinite.

        Raises
        ------
        InputError
            Naming the first such row, by its position in the data.
        """
        found = self.loss_and_gradient() if gradient else (self.loss(), 0.0)
        if all(np.isfinite(part).all() for part in found):
            return
        for number, batch in enumerate(self.batches):
            tensors = self.tensors(batch)
            value, parts = self._compiled["gradient"](*tensors)
            value, slopes = float(value), [np.asarray(part) for part in parts]
            if np.isfinite(value) and all(np.isfinite(slope).all() for slope in slopes):
                continue
            losses = self.row_loss(tensors[1], self.kernels.outputs(tensors[0]))
            bad = np.flatnonzero(~np.isfinite(np.asarray(losses)[: batch.n]))
            start = number * self.batches.batch_size
            what, where = (
                ("loss", f"row {start + bad[0]} (batch {number})")
                if len(bad)
                else ("gradient", f"rows {start} to {start + batch.n - 1} (batch {number})")
            )
            raise InputError(
                f"the {what} of model '{self.model.name}' is not finite in {where}; look for NaN "
                "and infinite values in the data and the weights"
            )
        raise InputError(
            f"the loss of model '{self.model.name}' is not finite in its penalties or its sum; "
            "look for NaN and infinite values in the weights"
        )

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return z of the rows of x, shape (n, …)."""
        return self._by_rows("outputs", x)

    def jacobian_vector_product(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return J v of the rows of x, shape (n, …): how z moves as the weights move along v."""
        return self._by_rows("jacobian_product", x, self._staging.fill(self.parameters.check(v)))

    def vector_jacobian_product(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return Σ_i J_iᵀ u_i, shape (P,), for the rows of x and u of the outputs' shape."""
        import tensorflow as tf

        x, u = np.asarray(x), np.asarray(u, dtype=self._z_dtype)
        if len(u) != len(x):
            raise InputError(f"u has {len(u)} rows for {len(x)} rows of x")
        total, rows = Sum(self.parameters), self._rows(x, u)
        self._check_tokens(rows)
        for batch in rows:
            # Rows that fill up the batch must not count.
            weight = batch.weight.reshape(-1, *[1] * (u.ndim - 1))
            cotangent = (batch.y * weight).astype(self._z_dtype)
            total.add(
                self._compiled["transposed_product"](
                    tf.constant(batch.x.astype(self._x_dtype)), tf.constant(cotangent)
                )
            )
        return total.times(1.0)

    def _matrix_product(self, kernel: str, v: np.ndarray) -> np.ndarray:
        v = np.asarray(v)
        if v.ndim == 2 and not v.shape[1]:
            raise InputError(f"v has shape {v.shape}; expected at least one column")
        columns = [self.parameters.check(column) for column in (v.T if v.ndim == 2 else [v])]
        stages = [self._staging, *(Staging(self.parameters) for _ in columns[1:])]
        divided = [stage.fill(column) for stage, column in zip(stages, columns, strict=True)]
        totals = [Sum(self.parameters) for _ in columns]
        for batch in self.batches:
            tensors = self.tensors(batch)
            for parts, total in zip(divided, totals, strict=True):
                total.add(self._compiled[kernel](*tensors, parts))
        results = [total.times(self.scale) for total in totals]
        if self._penalties:
            for parts, result in zip(divided, results, strict=True):
                result += self._penalties.hessian_product(parts)
        # Faster than looking at each: in a sum what is not finite stays so.
        if not all(np.isfinite(result.sum()) for result in results):
            self.explain_not_finite(kernel, v)
        return np.stack(results, axis=1) if v.ndim == 2 else results[0]

    def explain_not_finite(self, kernel: str, v: np.ndarray) -> None:
        """Raise an error that says why a product with v is not finite."""
        what = f"{kernel.replace('_', ' ')} of model '{self.model.name}' is not finite"
        if not np.isfinite(v).all():
            raise InputError(f"{what}: the vector holds NaN or infinite values")
        self.check_finite(gradient=True)
        raise InputError(
            f"{what} although loss and gradient are; an operation has no second derivative at "
            "these weights and data, or the vector is too long"
        )

    def _by_rows(self, kernel: str, x: np.ndarray, *args: Any) -> np.ndarray:
        import tensorflow as tf

        found, rows = [], self._rows(x)
        self._check_tokens(rows)
        for batch in rows:
            tensor = tf.constant(batch.x.astype(self._x_dtype))
            found.append(self._compiled[kernel](tensor, *args).numpy()[: batch.n])
        return np.concatenate(found)

    def _rows(self, x: np.ndarray, u: np.ndarray | None = None) -> Batches:
        """Return rows in batches as large as the data's, few of them too: one trace serves all."""
        rows = Batches(x, u)
        rows.batch_size = self.batches.batch_size
        return rows

    def _check_tokens(self, batches: Batches) -> None:
        """Refuse tokens that the model does not have; the class codes' like is `targets`."""
        if self._has_vocabulary:
            for number, batch in enumerate(batches):
                first = number * batches.batch_size
                check_tokens(self.model, batch.x.astype(self._x_dtype, copy=False), first)

    def _try_loss(self, y: np.ndarray, outputs: "tf.Tensor") -> None:
        """Try the loss on a batch; find out whether it insists on whole targets."""
        import tensorflow as tf

        for self._keeps_whole in (False, True):
            targets = tf.constant(self.targets(y))
            try:
                self.row_loss(targets, outputs)
                break
            except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
                if isinstance(error, InputError):
                    raise
                if self._keeps_whole or y.dtype.kind not in "iu":
                    raise InputError(
                        f"loss '{self.row_loss.name}' fails for targets of shape {targets.shape} "
                        f"and type {targets.dtype.name}, outputs of shape {outputs.shape} and "
                        f"type {outputs.dtype.name}: {str(error).splitlines()[0]}"
                    ) from error
        check_rows_apart(self.row_loss, targets, outputs)

    def tensors(self, batch: Batch) -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor]":
        """Return rows, targets and weights of a batch as the kernels take them."""
        import tensorflow as tf

        return (
            tf.constant(batch.x.astype(self._x_dtype, copy=False)),
            tf.constant(self.targets(batch.y)),
            tf.constant(batch.weight.astype(self._z_dtype)),
        )

    def targets(self, y: np.ndarray) -> np.ndarray:
        """Return targets in the type that the loss takes, or refuse them."""
        kind = self.row_loss.kind
        if kind in ("sparse", "codes"):
            # XLA gives NaN for a class that does not exist, TensorFlow alone an error.
            if y.min() < 0 or y.max() >= self._n_classes or (y != np.floor(y)).any():
                raise InputError(
                    f"targets go from {y.min()} to {y.max()}; expected class codes 0 to "
                    f"{self._n_classes - 1}"
                )
            return y.astype(np.int64)
        if kind == "categorical" and not np.allclose(y.sum(axis=-1), 1, atol=1e-4):
            # TensorFlow's gradient p − y is that of the loss only then.
            raise InputError(
                "targets of categorical cross-entropy do not sum to one in each row; for class "
                "codes use sparse_categorical_crossentropy"
            )
        if self._keeps_whole and y.dtype.kind in "iu":
            return y
        return y.astype(self._z_dtype, copy=False)


def hessian_vector_product(
    model: "keras.Model",
    loss: "str | keras.losses.Loss | Callable",
    data: Batches | tuple,
    reduction: str | None = None,
    **options: Any,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function v ↦ H v, proved on this model and compiled.

    Parameters and errors are those of `Products`; a proof that fails is an `InputError` that
    names it, see `starstack.autodiff.proofs.prove`.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> product = hessian_vector_product(model, "mse", (np.eye(2), np.zeros(2)))
    >>> product([3.0, 5.0])
    array([3., 5.])
    """
    from starstack.autodiff.proofs import prove

    products = Products(model, loss, data, reduction, **options)
    products.check_finite()
    prove(products, "hessian")
    return products.hessian_vector_product


def gauss_newton_vector_product(
    model: "keras.Model",
    loss: "str | keras.losses.Loss | Callable",
    data: Batches | tuple,
    reduction: str | None = None,
    **options: Any,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function v ↦ G v, proved on this model and compiled; see `Products`."""
    from starstack.autodiff.proofs import prove

    products = Products(model, loss, data, reduction, **options)
    products.check_finite()
    prove(products, "gauss_newton")
    return products.gauss_newton_vector_product
