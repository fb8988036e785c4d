"""Law 1 over processes: how many of them run a network changes nothing; each has its own devices' part, and knows the whole."""

import pytest
from laws.processes import LAUNCHERS, around, campaign, different, hindrance, launched, on_one_device

# One launch each; `processes.py` has the whole product.
QUICK = [
    (2, 2, [("mixed", dict(placement="round_robin", exchange="ids"))]),
    (4, 1, [("plastic", dict(placement="balanced", exchange="mask"))]),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return on_one_device(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(("processes", "each", "cases"), QUICK)
def test_processes_change_nothing(tmp_path, alone, processes, each, cases):
    with around("plain", tmp_path) as environment:
        found = launched("plain", processes, each, cases, tmp_path / "found", environment, 200)
    for (network, _), outcomes in zip(cases, found, strict=True):
        assert different(outcomes, alone[network], each) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("launcher", [pytest.param(n, marks=[pytest.mark.slurm] if n == "srun" else []) for n in LAUNCHERS])
def test_no_product_of_launchers_processes_devices_and_plans_changes_anything(tmp_path, launcher):
    if reason := hindrance(launcher):
        pytest.skip(reason)
    equal, total = campaign(launcher, tmp_path)
    assert equal == total == 54


@pytest.mark.slow
@pytest.mark.parametrize("exchange", ["mask", "ids"])
def test_buffers_that_overflow_on_one_process_grow_on_all(tmp_path, exchange):
    cases = [("saturating", dict(placement="block", exchange=exchange))]
    with around("plain", tmp_path) as environment:
        ((wanted,),), (found,) = (
            launched("plain", processes, 1, cases, tmp_path / f"{processes}", environment, 200) for processes in (1, 2)
        )
    assert different(found, wanted, 1) == []
