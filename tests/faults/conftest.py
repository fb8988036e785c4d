"""Faults meet processes that compile as those of users do."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_compiled_before(monkeypatch):
    """A kill or a standstill is to meet compilations, and a killed process leaves no half file to the other tests."""
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "0")
