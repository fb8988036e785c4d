"""Elementary functions built from IEEE +, -, *, / and sqrt alone, so that every machine and compiler gives the same bits.

The connectivity of a network passes through a logarithm and a normal quantile; libm and vector libraries differ in their last
bit, which would give two machines two networks. `cpp/exact.h` holds the same operations in the same order.
"""

from __future__ import annotations

import numpy as np

LN2 = 0.6931471805599453
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
LOG2_E = 1.4426950408889634

# Wichura (1988), Algorithm AS 241, PPND16, doi:10.2307/2347330: coefficients from the highest power down.
CENTRE_P = (
    2509.0809287301226727,
    33430.575583588128105,
    67265.770927008700853,
    45921.953931549871457,
    13731.693765509461125,
    1971.5909503065514427,
    133.14166789178437745,
    3.387132872796366608,
)
CENTRE_Q = (
    5226.495278852545925,
    28729.085735721942674,
    39307.89580009271061,
    21213.794301586595867,
    5394.1960214247511077,
    687.1870074920579083,
    42.313330701600911252,
    1.0,
)
TAIL_P = (
    7.7454501427834140764e-4,
    0.0227238449892691845833,
    0.24178072517745061177,
    1.27045825245236838258,
    3.64784832476320460504,
    5.7694972214606914055,
    4.6303378461565452959,
    1.42343711074968357734,
)
TAIL_Q = (
    1.05075007164441684324e-9,
    5.475938084995344946e-4,
    0.0151986665636164571966,
    0.14810397642748007459,
    0.68976733498510000455,
    1.6763848301838038494,
    2.05319162663775882187,
    1.0,
)

# The largest |z| that 32 random bits can give: the bound of every normal draw.
NORMAL_BOUND = 6.3384


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of positive finite numbers, to about 1e-15."""
    m, e = np.frexp(np.asarray(x, dtype=np.float64))
    small = m < 0.7071067811865476
    m, e = np.where(small, m * 2.0, m), e - small
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = np.full_like(z, 1.0 / 21.0)
    for k in range(19, 0, -2):
        series = series * z + 1.0 / k
    return 2.0 * s * series + e * LN2


def exp(x: np.ndarray) -> np.ndarray:
    """Exponential for |x| < 700, to about 1e-15."""
    x = np.asarray(x, dtype=np.float64)
    k = np.floor(x * LOG2_E + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = np.ones_like(r)
    for n in range(13, 0, -1):
        series = series * r / n + 1.0
    return np.ldexp(series, k.astype(np.int32))


def unit_interval(word: np.ndarray) -> np.ndarray:
    """The midpoint (word + 1/2) / 2**32 of the cell of the unit interval that a random word names."""
    return (np.asarray(word, dtype=np.float64) + 0.5) * 2.0**-32


def normal_quantile(word: np.ndarray) -> np.ndarray:
    """Standard normal number of a random 32-bit word, |z| < `NORMAL_BOUND`.

    Source: Wichura (1988), AS 241.
    """
    p = unit_interval(word)
    q = p - 0.5
    r = 0.180625 - q * q
    centre = q * (_horner(CENTRE_P, r) / _horner(CENTRE_Q, r))
    t = np.sqrt(-log(np.where(q < 0, p, 1.0 - p))) - 1.6
    tail = _horner(TAIL_P, t) / _horner(TAIL_Q, t)
    return np.where(np.abs(q) <= 0.425, centre, np.where(q < 0, -tail, tail))


def _horner(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = total * x + c
    return total
