"""Seeds that depend on what they are for, and on nothing else."""

import hashlib


def derive_seed(*parts: object) -> int:
    """Derive a seed from a path such as (config seed, study, model, fold).

    The seed is the first 31 bits of the SHA-256 of the parts joined by ``/``, so that adding a
    model or running jobs in another order changes no other model's seed.

    Parameters
    ----------
    *parts : object
        What the seed is for; each part is used through ``str``.

    Returns
    -------
    int
        ``0 <= seed < 2**31``, accepted by NumPy, scikit-learn and TensorFlow alike.

    Examples
    --------
    >>> derive_seed(1, "wine", "forest", "3") == derive_seed(1, "wine", "forest", "3")
    True
    >>> derive_seed(1, "wine", "forest", "3") == derive_seed(1, "wine", "forest", "4")
    False
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
