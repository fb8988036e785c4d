"""What is written is read back, or said to be damaged: never other spikes."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from dist_sim.errors import OutputError
from dist_sim.run import segments
from dist_sim.run.segment_reader import SegmentReader
from dist_sim.run.segments import HEADER_BYTES, SegmentWriter, segment_path


def write(folder, steps, ids, *, chunk=100, end=1000, process=0, processes=1, **options):
    writer = SegmentWriter(folder, process, 0.1, processes=processes, **options)
    for step0 in range(0, end, chunk):
        low, high = np.searchsorted(steps, (step0, step0 + chunk))
        writer.append(step0, step0 + chunk, steps[low:high], ids[low:high])
    writer.close()


def assert_reads(folder, steps, ids):
    reader = SegmentReader(folder)
    read_steps, read_ids = reader.arrays()
    np.testing.assert_array_equal(read_steps, steps)
    np.testing.assert_array_equal(read_ids, ids)
    return reader


@pytest.mark.parametrize("segment_bytes", [1 << 28, 1000, 1])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_round_trip(tmp_path, random_spikes, count, segment_bytes):
    steps, ids = random_spikes(count)
    write(tmp_path, steps, ids, segment_bytes=segment_bytes)
    reader = assert_reads(tmp_path, steps, ids)
    assert reader.torn == [] and reader.dt == 0.1 and reader.spikes == count
    if segment_bytes == 1:
        assert len(list(tmp_path.iterdir())) == 10


def test_ids_and_steps_beyond_32_bits(tmp_path):
    steps, ids = np.array([2**40, 2**40 + 1]), np.array([5, 2**33])
    writer = SegmentWriter(tmp_path, 0, 0.1)
    writer.append(2**40, 2**40 + 10, steps, ids)
    writer.close()
    assert_reads(tmp_path, steps, ids)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_are_merged_in_the_global_order(tmp_path, random_spikes, processes):
    steps, ids = random_spikes(3000)
    for process in range(processes):
        mine = ids % processes == process
        # Chunks need not be cut at the same steps.
        write(tmp_path, steps[mine], ids[mine], chunk=[100, 125, 50][process], process=process, processes=processes)
    assert_reads(tmp_path, steps, ids)


def test_a_process_that_is_behind_bounds_what_is_read(tmp_path, random_spikes):
    steps, ids = random_spikes(3000)
    write(tmp_path, steps[ids % 2 == 0], ids[ids % 2 == 0], process=0, processes=2)
    write(tmp_path, steps[ids % 2 == 1], ids[ids % 2 == 1], process=1, processes=2, end=600)
    reader = assert_reads(tmp_path, steps[steps < 600], ids[steps < 600])
    assert "step 600" in reader.torn[0]
    segment_path(tmp_path, 1, 0).unlink()
    with pytest.raises(OutputError, match=r"process \[1\] are missing"):
        SegmentReader(tmp_path)


def test_cut_at_every_byte_the_whole_blocks_are_read(tmp_path, random_spikes):
    steps, ids = random_spikes(40)
    write(tmp_path, steps, ids, chunk=250)
    path = segment_path(tmp_path, 0, 0)
    whole = path.read_bytes()
    counts = [int(((steps >= s) & (steps < s + 250)).sum()) for s in range(0, 1000, 250)]
    ends = np.cumsum([0] + [HEADER_BYTES + 8 * count for count in counts])
    assert ends[-1] == len(whole)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        blocks = int(np.searchsorted(ends, length, side="right")) - 1
        reader = assert_reads(tmp_path, steps[: sum(counts[:blocks])], ids[: sum(counts[:blocks])])
        assert bool(reader.torn) == (length not in ends)


def test_zeros_at_the_end_are_torn_too(tmp_path, random_spikes):
    steps, ids = random_spikes(100)
    write(tmp_path, steps, ids)
    with segment_path(tmp_path, 0, 0).open("ab") as file:
        file.write(bytes(4096))
    assert "torn" in assert_reads(tmp_path, steps, ids).torn[0]


def test_every_bit_flip_is_detected(tmp_path, random_spikes):
    steps, ids = random_spikes(20)
    write(tmp_path, steps, ids, chunk=500)
    path = segment_path(tmp_path, 0, 0)
    whole = path.read_bytes()
    for byte in range(len(whole)):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << (byte % 8)
        path.write_bytes(damaged)
        with pytest.raises(OutputError, match="damaged"):
            SegmentReader(tmp_path).arrays()


def test_lost_and_cut_segments_in_the_middle_are_detected(tmp_path, random_spikes):
    write(tmp_path, *random_spikes(500), segment_bytes=1)
    third = segment_path(tmp_path, 0, 2)
    whole = third.read_bytes()
    third.write_bytes(whole[:-1])
    with pytest.raises(OutputError, match="cut off"):
        SegmentReader(tmp_path)
    third.write_bytes(b"")
    with pytest.raises(OutputError, match="lost or files renamed"):
        SegmentReader(tmp_path)
    third.unlink()
    with pytest.raises(OutputError, match="this segment is missing"):
        SegmentReader(tmp_path)


def test_a_second_writer_is_refused_and_an_empty_folder_named(tmp_path, random_spikes):
    with pytest.raises(OutputError, match="no spike segments"):
        SegmentReader(tmp_path)
    write(tmp_path, *random_spikes(10))
    with pytest.raises(OutputError, match="another directory"):
        SegmentWriter(tmp_path, 0, 0.1)


def test_a_closed_writer_goes_on(tmp_path, random_spikes):
    steps, ids = random_spikes(200)
    writer = SegmentWriter(tmp_path, 0, 0.1)
    half = np.searchsorted(steps, 500)
    writer.append(0, 500, steps[:half], ids[:half])
    writer.close()
    writer.append(500, 1000, steps[half:], ids[half:])
    writer.close()
    assert_reads(tmp_path, steps, ids)


@pytest.mark.parametrize("room", [0, 1, HEADER_BYTES, HEADER_BYTES + 5])
def test_a_full_disk_is_told_and_loses_no_earlier_spike(tmp_path, random_spikes, monkeypatch, room):
    steps, ids = random_spikes(200)
    half = np.searchsorted(steps, 500)
    writer = SegmentWriter(tmp_path, 0, 0.1)
    writer.append(0, 500, steps[:half], ids[:half])
    left = [room]

    def write_until_full(descriptor, data):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = real_write(descriptor, data[: left[0]])
        left[0] -= part
        return part

    real_write = os.write
    monkeypatch.setattr(segments.os, "write", write_until_full)
    size = HEADER_BYTES + 8 * (200 - int(half))
    told = rf"seg-00000-00000.bin: cannot be written: No space left .* {size} bytes are missing .* before is untouched"
    with pytest.raises(OutputError, match=told):
        writer.append(500, 1000, steps[half:], ids[half:])
    assert assert_reads(tmp_path, steps[:half], ids[:half]).torn == []
    # Once there is room, the same block goes in.
    monkeypatch.setattr(segments.os, "write", real_write)
    writer.append(500, 1000, steps[half:], ids[half:])
    writer.close()
    assert_reads(tmp_path, steps, ids)
