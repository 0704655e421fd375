"""Newton's steps: of a quadratic one leads to the minimum, however it is solved for."""

import numpy as np
import pytest

from starstack.projection import newton

RNG = np.random.default_rng(0)


class Quadratic:
    """½ xᵀA x − bᵀx, with minimum A⁻¹ b."""

    def __init__(self, eigenvalues):
        rotation = np.linalg.qr(RNG.normal(size=(len(eigenvalues),) * 2))[0]
        self.A = (rotation * eigenvalues) @ rotation.T
        self.b, self.size = RNG.normal(size=len(eigenvalues)), len(eigenvalues)

    def value_and_gradient(self, x):
        return float(x @ (self.A @ x) / 2 - self.b @ x), self.A @ x - self.b

    def hessian(self, x):
        return self.A

    def hessian_vector_product(self, x, v):
        return self.A @ v


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("eigenvalues", [(1.0, 2.0, 5.0), (-1.0, 0.5, 3.0)])
def test_one_step_solves_a_quadratic(dense, eigenvalues, monkeypatch):
    """With a negative eigenvalue to its saddle, which here is lower than the start."""
    if not dense:
        monkeypatch.setattr(newton, "DENSE_LIMIT", 0)
    objective = Quadratic(eigenvalues)
    solution = np.linalg.solve(objective.A, objective.b)
    start = solution + np.linalg.eigh(objective.A)[1][:, -1]
    met = newton.newton_steps(objective, start, 1e-7, 5)
    assert len(met) == 2
    np.testing.assert_allclose(met[1][0], solution, atol=1e-6)
    assert met[1][1] < met[0][1]
    np.testing.assert_allclose(met[1][2], 0, atol=1e-6)
