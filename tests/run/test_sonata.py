"""SONATA files are what other tools expect."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from dist_sim.errors import OutputError, ParameterError
from dist_sim.io import sonata
from dist_sim.io.report import raster_and_rates
from dist_sim.io.sonata import write_spikes
from dist_sim.run.recorded import Spikes

# Not in the order of their ids.
POPULATIONS = [("inh", 40, 10), ("exc", 0, 40), ("silent", 50, 5), ("empty", 40, 0)]


def test_libsonata_reads_the_spikes_back(tmp_path, random_spikes):
    libsonata = pytest.importorskip("libsonata")
    steps, ids = random_spikes(2000)
    write_spikes(tmp_path / "spikes.h5", POPULATIONS, Spikes.of(steps, ids, 0.1))
    reader = libsonata.SpikeReader(str(tmp_path / "spikes.h5"))
    assert sorted(reader.get_population_names()) == ["empty", "exc", "inh", "silent"]
    for name, first, size in POPULATIONS:
        population = reader[name]
        assert population.sorting == "by_time"
        read = population.get_dict()
        mine = (ids >= first) & (ids < first + size)
        np.testing.assert_array_equal(read["node_ids"], ids[mine] - first)
        np.testing.assert_array_equal(read["timestamps"], (steps[mine] + 1) * 0.1)


def test_the_layout_of_the_file(tmp_path, random_spikes):
    steps, ids = random_spikes(100)
    write_spikes(tmp_path / "spikes.h5", POPULATIONS, Spikes.of(steps, ids, 0.1))
    with h5py.File(tmp_path / "spikes.h5") as file:
        group = file["spikes/exc"]
        assert isinstance(group, h5py.Group)
        assert group.attrs["sorting"] == 2
        assert h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype) == {"none": 0, "by_id": 1, "by_time": 2}
        timestamps, node_ids = group["timestamps"], group["node_ids"]
        assert isinstance(timestamps, h5py.Dataset) and isinstance(node_ids, h5py.Dataset)
        assert timestamps.attrs["units"] == "ms"
        assert (timestamps.dtype, node_ids.dtype) == (np.float64, np.uint64)
    assert [path.name for path in tmp_path.iterdir()] == ["spikes.h5"]


@pytest.mark.parametrize(
    ("populations", "text"),
    [
        ([("a/b", 0, 50)], "cannot name"),
        ([("a", 0, 25), ("a", 25, 25)], "used by 2"),
        ([("a", 0, 25)], "in no population"),
        ([("a", 0, 26), ("b", 25, 25)], "both hold id 25"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, random_spikes, populations, text):
    steps, ids = random_spikes(100)
    with pytest.raises(ParameterError, match=text):
        write_spikes(tmp_path / "spikes.h5", populations, Spikes.of(steps, ids, 0.1))
    assert list(tmp_path.iterdir()) == []


def test_no_room_and_no_folder(tmp_path, random_spikes, monkeypatch):
    steps, ids = random_spikes(100)
    with pytest.raises(OutputError, match="No such file"):
        write_spikes(tmp_path / "no" / "spikes.h5", POPULATIONS, Spikes.of(steps, ids, 0.1))
    monkeypatch.setattr(sonata, "ROOM", 1 << 60)
    with pytest.raises(OutputError, match=r"bytes are missing \(\d+ are needed, \d+ free\)"):
        write_spikes(tmp_path / "spikes.h5", POPULATIONS, Spikes.of(steps, ids, 0.1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 2000])
def test_the_picture_is_drawn(tmp_path, random_spikes, count):
    pytest.importorskip("matplotlib")
    rates = {"exc": 3.0, "inh": 7.0}
    steps, ids = random_spikes(count)
    raster_and_rates(tmp_path / "raster.png", steps, ids, 0.1, POPULATIONS, rates, 50.0, end_ms=100.0)
    assert (tmp_path / "raster.png").read_bytes().startswith(b"\x89PNG")
