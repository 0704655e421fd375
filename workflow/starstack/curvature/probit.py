r"""The logits of expected probabilities, for logits that are uncertain.

The expectation of a sigmoid of a normal variable of mean μ and variance v is close to the probit
approximation [1]_

    E[σ(d)] ≈ σ(μ / √(1 + π v / 8)),

which draws probabilities towards 1/2 where v is large. Of more classes, softmax is written in
sigmoids of differences of logits, of each of which the expectation is taken [2]_,

    E[p_c] ≈ 1 / Σ_j exp(−(μ_c − μ_j) / √(1 + π v_cj / 8)),    v_cj = V_cc + V_jj − 2 V_cj,

made to sum to one. Differences alone count: a number that is added to all logits changes nothing,
nor does the variance of such a number, about which the data say nothing. Of two classes it is right
to 0.02; of ten with large variances, errors of 0.2 were seen in single probabilities, a little
fewer than where each logit is divided by √(1 + π V_cc / 8).

References
----------
.. [1] D. J. C. MacKay, "The evidence framework applied to classification networks", Neural
   Computation 4 (1992) 720.
.. [2] J. Daunizeau, "Semi-analytical approximations to statistical moments of sigmoid and softmax
   mappings of normal variables", arXiv:1703.00091 (2017).
"""

import numpy as np
from scipy.special import logsumexp


def probit_logits(family: str, logits: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the logits whose probabilities are close to the expected ones, shape (n, c).

    Parameters
    ----------
    family : str
        ``bernoulli``: each logit goes into a sigmoid of its own; ``categorical``: all of a row go
        into one softmax.
    logits : ndarray of shape (n, c)
        Means.
    covariance : ndarray of shape (n, c, c)

    Examples
    --------
    Both families agree on two classes:

    >>> one = probit_logits("bernoulli", np.array([[2.0]]), np.array([[[10.0]]]))
    >>> two = probit_logits("categorical", np.array([[0.0, 2.0]]), np.diag([0.0, 10.0])[None])
    >>> round(float(one[0, 0]), 6), round(float(two[0, 1] - two[0, 0]), 6)
    (0.90103, 0.90103)
    """
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    if family == "bernoulli":
        return _shrunk(logits, variance)
    of_difference = variance[:, :, np.newaxis] + variance[:, np.newaxis, :] - 2 * covariance
    difference = logits[:, :, np.newaxis] - logits[:, np.newaxis, :]
    return -logsumexp(-_shrunk(difference, of_difference), axis=2)


def _shrunk(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return mean / np.sqrt(1 + np.pi / 8 * np.maximum(variance, 0))
