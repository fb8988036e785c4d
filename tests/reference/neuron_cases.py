"""How each model is compared with NEST."""

from reference.neurons import Case

GLIF = {"spike_dependent_threshold": True, "after_spike_currents": True, "adapting_threshold": True}
GLIF_1 = dict.fromkeys(GLIF, False)
GLIF_VARIED = {
    "adapting_threshold": False,
    "after_spike_currents": None,
    "spike_dependent_threshold": None,
    "asc_init": None,
    "asc_r": (0.7, 0.4),
}
GLIF_NEURONS = (
    GLIF_1,
    GLIF_1 | {"t_ref": 0.1},
    GLIF_1 | {"spike_dependent_threshold": True},
    GLIF_1 | {"after_spike_currents": True},
    {"adapting_threshold": False, "asc_decay": (0.05, 0.3), "asc_amps": (-20.0, 15.0), "asc_r": (0.5, 0.0), "t_ref": 0.12},
    {"th_voltage_index": 0.05, "th_voltage_decay": 0.3, "asc_amps": (2.0, -5.0), "voltage_reset_fraction": 0.0},
)
GLIF_REST = {
    "exclude": {"ASCurrents": "asc_init gives them"},
    # The injected current is recorded one step later than in NEST, which shows that of the step to come.
    "recordables": ("ASCurrents_sum", "I_syn", "V_m", "threshold", "threshold_spike", "threshold_voltage"),
}
# Sharp and rounded upstrokes; with and without refractoriness. Delta_T and V_peak so that NEST itself does not overflow.
AEIF = (
    {"t_ref": 2.0, "V_peak": -20.0},
    {"Delta_T": 0.0, "I_e": 0.0},
    {"Delta_T": 0.0, "t_ref": 0.2, "I_e": 0.0},
    {"Delta_T": 0.5, "V_peak": -40.0},
    {"w": 50.0, "t_ref": 0.1},
)
THREE = {"I_e": 500.0, "E_rev": (0.0, 0.0, -85.0)}
STATES = {"g": "states by receptor", "dg": "states by receptor"}
# With a Delta_V of a tenth of a microvolt chance decides nothing: a spike where V passes E_sfa.
SHARP = {
    "Delta_V": 1e-4, "V_T_star": -52.0,
    "tau_stc": (10.0, 40.0), "q_stc": (20.0, 5.0), "tau_sfa": (4.0, 30.0), "q_sfa": (4.0, 1.5),
}  # fmt: skip
SHARP_VARIED = {"Delta_V": 2e-4, "tau_stc": (3.0, 60.0), "tau_sfa": (5.0, 25.0)}
SHARP_NEURONS = (
    {"lambda_0": 0.0},
    {"t_ref": 0.0},
    {"t_ref": 0.1},
    {"q_stc": (-30.0, 4.0)},
    {"q_sfa": (-1.0, 3.0), "t_ref": 8.0},
)

# Times [ms] of spikes that a neuron of t_ref = 2 ms can follow.
IRREGULAR = (0.5, 6.2, 9.1, 12.0, 15.5, 41.0, 43.3, 46.6, 52.7, 80.1, 83.0, 86.2, 89.0, 111.4)

CASES = {
    "iaf_psc_exp": Case(
        varied={"delta": None, "rho": None},
        neurons=({"delta": 1e-4, "rho": 1.0}, {"delta": 1e-4, "rho": 5.0, "t_ref": 0.1}),
        at_random=({"delta": 2.0, "rho": 50.0},),
    ),
    "iaf_psc_alpha": Case(),
    "iaf_psc_delta": Case(
        neurons=(
            *({"refractory_input": True, "t_ref": t} for t in (0.0, 0.1, 0.2, 0.7, 5.0)),
            {"refractory_input": True, "t_ref": 0.7, "V_min": -72.0, "V_reset": -60.0, "tau_m": 2.0},
            {"t_ref": 0.0},
            {"t_ref": 0.15, "refractory_input": True},
        ),
    ),
    "iaf_psc_exp_multisynapse": Case(
        base={"tau_syn": (2.0, 0.4, 8.0)},
        neurons=({"t_ref": 0.0}, {"t_ref": 0.1}, {"t_ref": 0.25, "V_reset": -80.0}, {"tau_m": 3.0}),
    ),
    "iaf_psc_alpha_multisynapse": Case(
        base={"tau_syn": (2.0, 0.4, 10.0)},
        neurons=({"t_ref": 0.0}, {"t_ref": 0.1}, {"V_min": -70.5, "V_reset": -70.2}, {"tau_m": 3.0}),
    ),
    "iaf_psc_exp_htum": Case(
        base={"t_ref_tot": 3.0},
        relative_in_nest=("V_m",),
        varied={"t_ref_abs": 2.4, "t_ref_tot": 5.2},
        neurons=(
            {"t_ref_abs": 0.1},
            {"t_ref_abs": 0.1, "t_ref_tot": 0.1},
            {"t_ref_abs": 0.1, "t_ref_tot": 0.2},
            {"t_ref_abs": 3.0},
        ),
    ),
    "mat2_psc_exp": Case(
        neurons=(
            {"alpha_1": 3.0, "alpha_2": 1.0, "t_ref": 0.1},
            {"alpha_1": -2.0, "alpha_2": 5.0},
            {"alpha_1": 1.0, "t_ref": 6.0},
        ),
    ),
    "amat2_psc_exp": Case(
        base={"beta": 0.2, "alpha_2": 1.0},
        weights={0: (500.0, -300.0)},
        neurons=(
            {"beta": 0.0, "t_ref": 0.1},
            {"beta": -0.3},
            {"beta": 1.2, "tau_v": 2.0, "tau_m": 6.0},
            {"tau_v": 8.0, "tau_syn_in": 9.0},
        ),
    ),
    "izhikevich": Case(
        base={"I_e": 2.0},
        current=6.0,
        neurons=(
            {"consistent_integration": False, "I_e": 5.0},
            {"consistent_integration": False, "a": 0.1, "d": 2.0},
            {"consistent_integration": False, "V_min": -66.0},
            {"c": -50.0, "d": 2.0},
            {"a": 0.02, "b": 0.25, "I_e": 1.0, "V_min": -66.0},
        ),
    ),
    "iaf_chs_2007": Case(
        weights={0: (1.0, 0.4)},
        current=0.0,
        neurons=({"V_reset": 0.0}, {"V_epsp": 2.0, "tau_reset": 3.0}, {"tau_epsp": 1.0}),
        exclude={"noise": "generators make noise", "V_noise": "the scale of that list"},
    ),
    "iaf_cond_exp": Case(tolerance=1e-6, weights={0: (20.0, -6.0)}),
    "glif_psc": Case(base=GLIF | {"tau_syn": (2.0, 5.0)}, varied=GLIF_VARIED, neurons=GLIF_NEURONS, **GLIF_REST),
    "glif_psc_double_alpha": Case(
        base=GLIF | {"tau_syn_fast": (2.0, 1.0), "tau_syn_slow": (6.0, 9.0), "amp_slow": (0.3, 0.6)},
        varied=GLIF_VARIED,
        neurons=GLIF_NEURONS,
        **GLIF_REST,
    ),
    "gif_psc_exp": Case(
        base=SHARP,
        varied=SHARP_VARIED,
        weights={0: (300.0, -150.0)},
        neurons=SHARP_NEURONS,
        at_random=({"lambda_0": 5.0, "Delta_V": 4.0}, {"lambda_0": 50.0, "Delta_V": 1.0, "t_ref": 0.0}),
    ),
    "gif_psc_exp_multisynapse": Case(
        base=SHARP | {"tau_syn": (2.0, 0.5, 20.0)},
        varied=SHARP_VARIED,
        weights={1: (300.0, -150.0), 2: (300.0, -150.0), 3: (30.0, -15.0)},
        neurons=SHARP_NEURONS,
        at_random=({"lambda_0": 5.0, "Delta_V": 4.0}, {"lambda_0": 50.0, "Delta_V": 1.0, "t_ref": 0.0}),
    ),
    # Likewise with a c_3 of 10 per microvolt: a spike where V passes E_sfa.
    "pp_psc_delta": Case(
        base={"c_2": 1e-3, "c_3": 1e4, "q_sfa": (4.0, 1.5), "tau_sfa": (4.0, 30.0), "V_m": -3.0},
        varied={"c_1": 1e8, "dead_time_shape": None, "dead_time_random": None, "q_sfa": (2.0, 3.0), "tau_sfa": (5.0, 25.0)},
        neurons=(
            {"dead_time": 1e-8},
            {"dead_time": 0.15, "with_reset": False},
            {"t_ref_remaining": 30.0},
            {"c_2": 0.0},
            {"c_2": -1e9, "c_3": 0.0, "c_1": 1e9, "tau_m": 3.0, "q_sfa": (-0.1, 0.2)},
        ),
        at_random=(
            {"c_2": 50.0, "c_3": 0.25},
            {"c_2": 0.0, "c_3": 0.0, "c_1": 30.0, "with_reset": False, "t_ref_remaining": 4.0},
            {"c_2": 0.0, "c_3": 0.0, "c_1": 10.0, "dead_time": 0.0, "q_sfa": (0.1, 0.1)},
            {"c_2": 0.0, "c_3": 0.0, "c_1": 30.0, "dead_time_random": True, "dead_time_shape": 3},
        ),
    ),
    "ignore_and_fire": Case(
        base={"rate": 300.0},
        varied={"phase": 0.7},
        neurons=tuple(
            {"rate": rate, "phase": phase}
            for rate, phase in (
                *((10.0, 0.5), (1000.0, 1e-6), (10000.0, 1.0), (30000.0, 1.0), (777.7, 0.33), (777.7, 1.0)),
                *((3.0, 0.1), (99.9, 0.123), (99.9, 0.5), (123.4, 0.777), (6666.0, 1.0), (6666.0, 0.3)),
            )
        ),
    ),
    "iaf_tum_2000": Case(
        varied={"delta": None, "rho": None, "tau_psc": 3.0},
        neurons=({"t_ref": 0.0}, {"tau_fac": 0.0}, {"delta": 1e-4, "rho": 1.0}),
        senders=(
            ({"x": 0.9, "y": 0.1, "u": 0.2, "tau_rec": 60.0, "tau_fac": 30.0}, ((0, 9000.0, IRREGULAR),), ((1, 900.0, 1.3),)),
            ({"x": 1.0, "tau_psc": 5.0, "tau_fac": 0.0}, ((0, 9000.0, IRREGULAR[1::2]),), ((1, -300.0, 0.1),)),
        ),
        at_random=({"delta": 2.0, "rho": 50.0},),
    ),
    "iaf_cond_alpha": Case(neurons=({"t_ref": 0.0}, {"t_ref": 0.1}), tolerance=1e-6),
    "iaf_cond_beta": Case(neurons=({"t_ref": 0.0}, {"tau_decay_ex": 2.0, "tau_rise_in": 0.5, "dg_in": 1.0}), tolerance=1e-6),
    "iaf_cond_exp_sfa_rr": Case(
        neurons=({"t_ref": 0.0}, {"q_rr": 0.0, "q_sfa": 30.0}), weights={0: (18.0, -6.0)}, tolerance=1e-6
    ),
    "iaf_chxk_2008": Case(
        neurons=({"ahp_bug": True, "tau_ahp": 4.0},), weights={0: (60.0, -20.0)}, current=1500.0, tolerance=1e-6
    ),
    # With tau_syn_ex = 0.2 ms the internal steps of the solver are chaotic: V_m of NEST's own neurons differs by 0.05 mV when
    # that time differs in its last bit.
    "aeif_cond_exp": Case(
        base={"I_e": 500.0, "tau_syn_ex": 1.0}, neurons=AEIF, weights={0: (16.0, -6.0)}, current=800.0, tolerance=1e-6
    ),
    "aeif_cond_alpha": Case(base={"I_e": 500.0}, neurons=AEIF, weights={0: (14.0, -6.0)}, current=800.0, tolerance=1e-6),
    "aeif_psc_exp": Case(base={"I_e": 500.0}, neurons=AEIF, weights={0: (2500.0, -400.0)}, current=800.0, tolerance=1e-6),
    "aeif_psc_alpha": Case(base={"I_e": 500.0}, neurons=AEIF, weights={0: (900.0, -400.0)}, current=800.0, tolerance=1e-6),
    # With refractory_input and a t_ref above 0 the potentials of NEST's neurons are NaN after their first spike.
    "aeif_psc_delta": Case(
        base={"I_e": 500.0},
        varied={"E_L": -72.0},
        neurons=AEIF,
        weights={0: (4.0, -1.0)},
        current=800.0,
        tolerance=1e-6,
    ),
    "aeif_cond_alpha_multisynapse": Case(
        base={**THREE, "tau_syn": (2.0, 0.5, 5.0)},
        varied={"E_rev": (5.0, -5.0, -80.0), "tau_syn": (1.5, 0.7, 9.0)},
        neurons=AEIF,
        weights={1: (3.0, 1.0), 2: (30.0, 10.0), 3: (2.0, 5.0)},
        current=800.0,
        tolerance=1e-6,
        exclude=STATES,
        recordables=("V_m", "w", "g_1", "g_2", "g_3"),
    ),
    "aeif_cond_beta_multisynapse": Case(
        base={**THREE, "tau_rise": (2.0, 0.5, 3.0), "tau_decay": (4.0, 0.5, 8.0)},
        varied={"E_rev": (5.0, -5.0, -80.0), "tau_rise": (1.5, 0.3, 8.0), "tau_decay": (5.0, 0.6, 9.0)},
        neurons=AEIF,
        weights={1: (3.0, 1.0), 2: (30.0, 10.0), 3: (2.0, 5.0)},
        current=800.0,
        tolerance=1e-6,
        exclude=STATES,
        recordables=("V_m", "w", "g_1", "g_2", "g_3"),
    ),
    "hh_psc_alpha": Case(
        weights={0: (1500.0, -500.0)},
        current=900.0,
        tolerance=1e-6,
        varied={"Act_m": 0.1, "Inact_h": 0.5, "Act_n": 0.4},
        neurons=({"t_ref": 0.0}, {"t_ref": 0.1}, {"t_ref": 20.0}, {"I_e": 700.0}, {"tau_syn_ex": 2.0}, {"V_m": -39.9}),
    ),
    "hh_cond_exp_traub": Case(
        weights={0: (25.0, -15.0)},
        current=600.0,
        tolerance=1e-6,
        varied={"Act_m": 0.1, "Inact_h": 0.5, "Act_n": 0.4},
        neurons=({"t_ref": 0.0}, {"t_ref": 0.1}, {"t_ref": 20.0}, {"I_e": 500.0}, {"tau_syn_ex": 0.5}, {"V_m": -45.3}),
    ),
    "ht_neuron": Case(
        weights={1: (6.0,), 2: (3.0,), 3: (2.0,), 4: (3.0,)},
        current=40.0,
        tolerance=1e-6,
        varied={"voltage_clamp": True, "t_ref": 1.0},
        neurons=(
            {"t_ref": 0.0},
            {"N_T": 2.5},
            {"voltage_clamp": True, "V_m": -40.0},
            {"instant_unblock_NMDA": True, "N_NaP": 2.0},
        ),
    ),
    "gif_cond_exp": Case(
        base=SHARP,
        tolerance=1e-6,
        weights={0: (12.0, -6.0)},
        varied=SHARP_VARIED,
        neurons=SHARP_NEURONS,
    ),
    "gif_cond_exp_multisynapse": Case(
        base=SHARP | {"tau_syn": (2.0, 5.0, 1.0), "E_rev": (0.0, -80.0, -60.0)},
        tolerance=1e-6,
        weights={1: (12.0,), 2: (6.0,), 3: (4.0,)},
        varied=SHARP_VARIED | {"tau_syn": (3.0, 4.0, 0.5), "E_rev": (-5.0, -90.0, -30.0)},
        neurons=SHARP_NEURONS,
        exclude={"g": "a readout"},
    ),
    "glif_cond": Case(
        base={"spike_dependent_threshold": True, "after_spike_currents": True, "adapting_threshold": True},
        tolerance=1e-6,
        weights={1: (60.0,), 2: (4.0,)},
        current=600.0,
        varied={"spike_dependent_threshold": None, "after_spike_currents": None, "asc_init": None, "asc_r": (0.5, 0.7)},
        # NEST shows the current of the next step as I, and here it is that of the step.
        recordables=("ASCurrents_sum", "V_m", "g_1", "g_2", "threshold", "threshold_spike", "threshold_voltage"),
        neurons=(
            {"spike_dependent_threshold": False, "after_spike_currents": False, "adapting_threshold": False},
            {"after_spike_currents": False, "adapting_threshold": False},
            {"spike_dependent_threshold": False, "adapting_threshold": False},
            {"t_ref": 0.1},
            {"t_ref": 1.04, "adapting_threshold": False},
        ),
        exclude={"ASCurrents": "a readout", "g": "a readout", "dg": "a readout"},
    ),
    "iaf_bw_2001": Case(
        tolerance=1e-6,
        weights={1: (60.0,), 2: (20.0,)},
        senders=(
            ({}, ((1, 900.0, IRREGULAR),), ((3, 20.0, 1.3),)),
            (
                {"alpha": 0.3, "tau_rise_NMDA": 4.0, "tau_decay_NMDA": 40.0},
                ((1, 900.0, IRREGULAR[1::2]),),
                ((3, 8.0, 0.1),),
            ),
        ),
        current=900.0,
    ),
    "iaf_bw_2001_exact": Case(
        tolerance=1e-6,
        weights={1: (60.0,), 2: (20.0,)},
        senders=(
            ({}, ((1, 900.0, IRREGULAR),), ((3, 20.0, 1.3), (3, 5.0, 2.5))),
            ({}, ((1, 900.0, IRREGULAR[1::2]),), ((3, 8.0, 0.1),)),
        ),
        current=900.0,
    ),
}
