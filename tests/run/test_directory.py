"""A run directory is refused before anything is built, and never holds half a file."""

from __future__ import annotations

import errno
import json
import os

import pytest

from dist_sim.errors import OutputError
from dist_sim.run import directory as directory_module
from dist_sim.run.directory import RunDirectory, default_directory, write_atomically
from dist_sim.run.provenance import provenance


def test_a_new_directory_is_made_and_claimed(tmp_path):
    first = RunDirectory(tmp_path / "a" / "b")
    assert first.results.is_dir()
    with pytest.raises(OutputError, match="already holds a run|is being written by"):
        RunDirectory(first.path)
    first.update_status(state="done")
    first.close()
    first.update_status(state="running")
    assert first.read_json("status.json")["state"] == "done"
    with pytest.raises(OutputError, match="Give another --out, or go on with it: dist-sim resume"):
        RunDirectory(first.path)


def test_a_folder_with_other_files_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunDirectory(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("where", ["file", "file/run"])
def test_a_path_that_cannot_be_a_folder(tmp_path, where):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        RunDirectory(tmp_path / where)


def test_a_folder_that_refuses_files(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(directory_module.os, "open", refuse)
    with pytest.raises(OutputError, match="cannot be written: Read-only file system"):
        RunDirectory(tmp_path / "run")


def test_after_a_failure_before_the_first_spike_the_same_command_works(tmp_path):
    failed = RunDirectory(tmp_path / "run")
    failed.write_json("provenance.json", {})
    failed.update_status(state="failed")
    failed.close()
    again = RunDirectory(tmp_path / "run")
    assert again.read_json("provenance.json") is None
    again.new_spikes_folder().mkdir()
    again.update_status(state="failed")
    again.close()
    with pytest.raises(OutputError, match="already holds a run|is being written by"):
        RunDirectory(tmp_path / "run")


def test_a_failed_replacement_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    write_atomically(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(directory_module.os, "fsync", full)
    with pytest.raises(OutputError, match=r"status.json: cannot be written: No space left .* 3 bytes are missing"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_status_keeps_its_fields_and_beats(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.update_status(state="running", total_ms=5.0)
    run.update_status(model_time_ms=1.0)
    status = json.loads((run.path / "status.json").read_text())
    assert {"state": "running", "total_ms": 5.0, "model_time_ms": 1.0}.items() <= status.items()
    assert "heartbeat" in status


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(OutputError, match="is no run directory"):
        RunDirectory.open(tmp_path)
    RunDirectory(tmp_path / "run")
    with pytest.raises(OutputError, match="recorded no spikes"):
        RunDirectory.open(tmp_path / "run").spikes_folder()


def test_default_names_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = default_directory(tmp_path / "balanced.py")
    assert first.parts[0] == "runs" and first.name.startswith("balanced-")
    first.mkdir(parents=True)
    assert not default_directory(tmp_path / "balanced.py").exists()


def test_provenance_keeps_the_job_and_no_secret(tmp_path, monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_JWT", "JAX_PLATFORMS", "MY_TOKEN", "SLURM_X_TOKEN"):
        monkeypatch.setenv(name, "value")
    found = provenance(tmp_path / "script.py", ("dist-sim", "run", "script.py"))
    assert {"SLURM_JOB_ID", "JAX_PLATFORMS"} <= set(found["environment"])
    assert not {"SLURM_JWT", "MY_TOKEN", "SLURM_X_TOKEN"} & set(found["environment"])
    assert found["git"] is None and "numpy" in found["versions"]
