"""The result tables of a study, from stored predictions: nothing is fitted here."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from starstack.data.dataset import Dataset
from starstack.metrics.reliability import reliability_table
from starstack.metrics.scores import score_difference
from starstack.splits.split import Split
from starstack.stacking.diversity import diversity_table
from starstack.stacking.risk import COLUMNS, interpret_member, prediction_scores, scored_columns
from starstack.stacking.stored_features import IN_SAMPLE, OUT_OF_FOLD, StoredFeatures

RowPredictions = Mapping[str, tuple[np.ndarray, np.ndarray]]


class Evaluation:
    """Scores, diversity, predictions and reliability of one study.

    Parameters
    ----------
    dataset, split : Dataset, Split
        The study's data and split.
    features : StoredFeatures or None
        Predictions of the base models, if the study has any.
    meta_predictions : mapping of str to mapping of str to (row ids, ndarray)
        For each meta-learner its ``cross-validated`` and ``test`` predictions.
    in_sample : sequence of str
        Meta-learners trained on in-sample predictions: what their cross-validation promises is
        labelled ``in-sample``, never ``cross-validated``.
    network_predictions : mapping of str to mapping of str to (row ids, ndarray), optional
        For each network of the study its ``test`` predictions; other rows are not looked at.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        features: StoredFeatures | None,
        meta_predictions: Mapping[str, RowPredictions],
        in_sample: Sequence[str] = (),
        network_predictions: Mapping[str, RowPredictions] | None = None,
    ) -> None:
        self.dataset = dataset
        self.outputs = dataset.classes or dataset.target_names
        self.kinds = features.kinds if features else {}
        self._row = {name: i for i, name in enumerate(dataset.row_id.tolist())}
        # (estimator, role, figure) -> rows and predictions of shape (rows, c)
        self.found: dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray]] = {}
        if features:
            self._add_base_models(features, split)
        for meta, predictions in meta_predictions.items():
            for name, (row_id, values) in predictions.items():
                promised = IN_SAMPLE if meta in in_sample else name
                self._add(meta, "meta", "test" if name == "test" else promised, row_id, values)
        for network, predictions in (network_predictions or {}).items():
            self._add(network, "network", "test", *predictions["test"])

    def _add_base_models(self, features: StoredFeatures, split: Split) -> None:
        train, test = split.train_rows(), np.flatnonzero(split.is_test)
        figures = {OUT_OF_FOLD: (OUT_OF_FOLD, train), "test": ("test_refit", test)}
        if IN_SAMPLE in features.blocks:
            figures[IN_SAMPLE] = (IN_SAMPLE, train)
        for model in features.kinds:
            for figure, (block_name, rows) in figures.items():
                block = features.blocks[block_name].get(model)
                if block is not None and len(rows):
                    kept = ~np.isnan(block).any(axis=1)
                    self.found[model, "base", figure] = rows[kept], block[kept]

    def _add(
        self, estimator: str, role: str, figure: str, row_id: np.ndarray, values: np.ndarray
    ) -> None:
        rows = np.array([self._row[i] for i in row_id.tolist()], dtype=int)
        # In the order of the data, as the base models' are: differences are paired.
        order = np.argsort(rows)
        self.found[estimator, role, figure] = rows[order], values[order]

    def _interpret(self, estimator: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """Say what a block of predictions is, as :func:`prediction_scores` takes it."""
        if self.dataset.task == "regression":
            return {"values": values}
        n_classes = len(self.outputs)
        if estimator in self.kinds:
            return interpret_member(values, self.kinds[estimator], n_classes)
        if values.shape[1] == n_classes:
            return interpret_member(values, "probability", n_classes)
        return {"codes": values[:, 0].astype(int)}

    def _weights(self, positions: np.ndarray, names: tuple[str, str]) -> dict[str, object]:
        """Pick groups and sample weights of some rows, under the names that a function takes."""
        known = zip(names, (self.dataset.group, self.dataset.sample_weight), strict=True)
        return {name: None if values is None else values[positions] for name, values in known}

    def scores(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Every score with its standard error, over groups where there are groups."""
        rows = []
        for metric in metrics:
            for (estimator, role, figure), (positions, values) in self.found.items():
                for output, result in prediction_scores(
                    metric,
                    self.dataset.y[positions],
                    self.outputs,
                    **self._weights(positions, ("groups", "sample_weight")),
                    **self._interpret(estimator, values),
                ):
                    made = (result.value, result.standard_error, result.n)
                    rows.append((estimator, role, figure, metric, output, *made))
        return self._named(rows, COLUMNS)

    def differences(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Score of each meta-learner minus that of each base model, paired on the test rows."""
        tested = {
            role: {
                estimator: block
                for (estimator, each, figure), block in self.found.items()
                if each == role and figure == "test"
            }
            for role in ("meta", "base")
        }
        rows = []
        for metric, (meta, (positions, first)), (base, (_, second)) in product(
            metrics, tested["meta"].items(), tested["base"].items()
        ):
            y = self.dataset.y[positions]
            pairs = [
                scored_columns(metric, y, self.outputs, **self._interpret(estimator, values))
                for estimator, values in ((meta, first), (base, second))
            ]
            # A metric that needs what one of the two does not give has no difference.
            for (output, observed, mine), (_, _, other) in zip(*pairs, strict=False):
                weights = self._weights(positions, ("group", "sample_weight"))
                result = score_difference(metric, observed, mine, other, **weights)
                made = (result.value, result.standard_error, result.n)
                rows.append((meta, base, metric, output, *made))
        columns = ["meta_learner", "base_model", "metric", "output"]
        return self._named(rows, [*columns, "value", "standard_error", "n"])

    def diversity(self) -> pd.DataFrame:
        """Compare out-of-fold errors of the base models.

        A classifier without probabilities counts as certain of the class that it predicts; a
        regressor among classifiers takes no part.
        """
        chosen, rows = {}, None
        for (model, role, figure), (positions, values) in self.found.items():
            if role != "base" or figure != OUT_OF_FOLD:
                continue
            found = self._interpret(model, values)
            if "values" in found:
                y = self.dataset.y
                chosen[model] = found["values"].reshape(len(positions), *y.shape[1:])
            elif "probabilities" in found:
                chosen[model] = found["probabilities"]
            elif "codes" in found:
                chosen[model] = np.eye(len(self.outputs))[found["codes"]]
            rows = positions  # every base model has the same folds, so the same rows
        columns = ["statistic", "model_a", "model_b", "value", "n"]
        if len(chosen) < 2:
            return self._named([], columns)
        table = diversity_table(self.dataset.task, self.dataset.y[rows], chosen)
        return self._named(table[columns].itertuples(index=False, name=None), columns)

    def predictions(self) -> pd.DataFrame:
        """Test rows: observed and predicted, one line per row and class or target."""
        columns = ["estimator", "role", "row_id", "output", "observed", "predicted"]
        parts = []
        for (estimator, role, figure), (positions, values) in self.found.items():
            if figure != "test" or values.shape[1] != len(self.outputs):
                continue
            if self.dataset.task == "classification":
                if self.kinds.get(estimator, "probability") != "probability":
                    continue
                observed = np.eye(len(self.outputs), dtype=int)[self.dataset.y[positions]]
            else:
                observed = self.dataset.y[positions].reshape(len(positions), -1)
            n, k = values.shape
            parts.append(
                pd.DataFrame(
                    {
                        "estimator": estimator,
                        "role": role,
                        "row_id": np.repeat(self.dataset.row_id[positions], k),
                        "output": np.tile(self.outputs, n),
                        "observed": observed.ravel(),
                        "predicted": values.ravel(),
                    }
                )
            )
        table = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
        return self._named(table[columns].itertuples(index=False, name=None), columns)

    def reliability(self) -> pd.DataFrame:
        """Predicted probability against observed frequency on the test rows, binned."""
        columns = ["estimator", "role", "output", "bin", "mean_predicted", "observed_frequency"]
        columns += ["standard_error", "n"]
        parts = []
        for (estimator, role, figure), (positions, values) in self.found.items():
            probabilities = self._interpret(estimator, values).get("probabilities")
            if figure == "test" and probabilities is not None:
                table = reliability_table(self.dataset.y[positions], probabilities, self.outputs)
                parts.append(table.assign(estimator=estimator, role=role))
        table = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
        return self._named(table[columns].itertuples(index=False, name=None), columns)

    def _named(self, rows: object, columns: list[str]) -> pd.DataFrame:
        table = pd.DataFrame(list(rows), columns=columns)
        table.insert(0, "study", self.dataset.name)
        return table
