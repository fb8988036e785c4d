"""The surrogates as functions: `sigmoid(x, alpha=4.0)` is `Sigmoid(alpha=4.0)(x)`, and so on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax

from dist_sim.models.surrogate.peaks import (
    ERF,
    Arctan,
    GaussianGrad,
    InvSquareGrad,
    MultiGaussianGrad,
    NonzeroSignLog,
    PiecewiseExp,
    PiecewiseQuadratic,
    QPseudoSpike,
    Sigmoid,
    SlayerGrad,
    SoftSign,
)
from dist_sim.models.surrogate.relu_grad import ReluGrad
from dist_sim.models.surrogate.surrogate import Surrogate
from dist_sim.models.surrogate.tails import S2NN, LeakyRelu, LogTailedRelu, PiecewiseLeakyRelu, SquarewaveFourierSeries


def _function(kind: Callable[..., Surrogate], name: str) -> Callable[..., jax.Array]:
    def function(x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        return kind(*args, **kwargs)(x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = inspect.getdoc(kind)
    own = [inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD), *inspect.signature(kind).parameters.values()]
    function.__signature__ = inspect.Signature(own)
    return function


sigmoid = _function(Sigmoid, "sigmoid")
piecewise_quadratic = _function(PiecewiseQuadratic, "piecewise_quadratic")
piecewise_exp = _function(PiecewiseExp, "piecewise_exp")
soft_sign = _function(SoftSign, "soft_sign")
arctan = _function(Arctan, "arctan")
nonzero_sign_log = _function(NonzeroSignLog, "nonzero_sign_log")
erf = _function(ERF, "erf")
q_pseudo_spike = _function(QPseudoSpike, "q_pseudo_spike")
gaussian_grad = _function(GaussianGrad, "gaussian_grad")
multi_gaussian_grad = _function(MultiGaussianGrad, "multi_gaussian_grad")
inv_square_grad = _function(InvSquareGrad, "inv_square_grad")
slayer_grad = _function(SlayerGrad, "slayer_grad")
relu_grad = _function(ReluGrad, "relu_grad")
piecewise_leaky_relu = _function(PiecewiseLeakyRelu, "piecewise_leaky_relu")
squarewave_fourier_series = _function(SquarewaveFourierSeries, "squarewave_fourier_series")
s2nn = _function(S2NN, "s2nn")
leaky_relu = _function(LeakyRelu, "leaky_relu")
log_tailed_relu = _function(LogTailedRelu, "log_tailed_relu")
