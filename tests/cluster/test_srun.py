"""A task that raises ends all tasks of a step, with one message and one exit code, on a real SLURM."""

import pytest
from faults.raising import struck, wrong

pytestmark = pytest.mark.alone


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("stage", "culprit"),
    [("late chunk", 1), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("first line", 1), ("build", 0)))],
)
def test_a_task_that_raises_ends_the_step(slurm, tmp_path, stage, culprit):
    found = struck(tmp_path / "run", "srun", stage, culprit=culprit, environment=slurm.environment)
    assert not wrong(found, stage, limit=30.0), found.said
