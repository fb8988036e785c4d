"""How each model is compared with NEST."""

from reference.neurons import Case

CASES = {
    "iaf_psc_exp": Case(varied={"delta": None, "rho": None}),
    "iaf_psc_alpha": Case(),
    "iaf_psc_delta": Case(),
    "iaf_cond_exp": Case(tolerance=1e-6),
}
