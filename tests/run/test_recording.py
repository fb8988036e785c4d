"""The digest speaks of the spikes alone: not of chunks, processes, or where they are kept."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dist_sim.run.digest import SpikeDigest, digest_of
from dist_sim.run.directory import RunDirectory
from dist_sim.run.recording import Recording
from dist_sim.run.segments import SegmentWriter


def by_hand(steps, ids):
    text = b"".join(int(s).to_bytes(8, "little") + int(i).to_bytes(8, "little") for s, i in zip(steps, ids, strict=True))
    return hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_digest_does_not_depend_on_the_chunks(random_spikes, chunk):
    steps, ids = random_spikes(500)
    digest = SpikeDigest()
    for step0 in range(0, 1000, chunk):
        low, high = np.searchsorted(steps, (step0, step0 + chunk))
        digest.update(steps[low:high], ids[low:high])
    assert digest.hexdigest() == by_hand(steps, ids)


def test_digest_refuses_another_order(random_spikes):
    steps, ids = random_spikes(500)
    with pytest.raises(AssertionError, match="not sorted"):
        SpikeDigest().update(steps[::-1], ids[::-1])
    digest = SpikeDigest()
    digest.update(steps, ids)
    with pytest.raises(AssertionError, match="before those"):
        digest.update(steps[:1], ids[:1])


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize("chunk", [50, 300])
def test_recording_gives_the_spikes_back(tmp_path, random_spikes, on_disk, chunk):
    steps, ids = random_spikes(800)
    directory = RunDirectory(tmp_path / "run") if on_disk else None
    recording = Recording(directory, 0.1)
    early = recording.so_far
    assert len(early.arrays()[0]) == 0
    for step0 in range(0, 1000, chunk):
        low, high = np.searchsorted(steps, (step0, step0 + chunk))
        recording.append(step0, step0 + chunk, steps[low:high], ids[low:high])
        np.testing.assert_array_equal(recording.so_far.arrays()[0], steps[:high])
    recording.close()
    found = recording.so_far.arrays()
    np.testing.assert_array_equal(found, (steps, ids))
    assert {array.dtype for array in found} == {np.dtype(np.int64)} and len(early.arrays()[0]) == 0
    np.testing.assert_array_equal(recording.so_far.arrays(since=600), (steps[steps >= 600], ids[steps >= 600]))
    assert recording.spikes == 800 and recording.digest == by_hand(steps, ids)
    if directory is not None:
        assert digest_of(directory) == digest_of(directory.path) == digest_of(directory.path / "spikes") == recording.digest


def test_digest_of_several_processes_is_that_of_one(tmp_path, random_spikes):
    steps, ids = random_spikes(800)
    for process in range(3):
        writer = SegmentWriter(tmp_path, process, 0.1, processes=3)
        for step0 in range(0, 1000, 200):
            mine = (ids % 3 == process) & (steps >= step0) & (steps < step0 + 200)
            writer.append(step0, step0 + 200, steps[mine], ids[mine])
        writer.close()
    assert digest_of(tmp_path) == by_hand(steps, ids)


def test_two_recordings_in_one_run_do_not_mix(tmp_path, random_spikes):
    directory = RunDirectory(tmp_path / "run")
    for seed in (1, 2):
        recording = Recording(directory, 0.1)
        recording.append(0, 1000, *random_spikes(50, seed))
        recording.close()
    assert directory.spikes_folder().name == "spikes-2"
    assert digest_of(directory.spikes_folder()) == by_hand(*random_spikes(50, 2))
    assert digest_of(directory.path / "spikes") == by_hand(*random_spikes(50, 1))
