"""Names that users give and files bear: of populations, runs, recordings."""

from __future__ import annotations

import re
from typing import Any

from dist_sim.errors import ParameterError

_REFUSED = re.compile(r"[/\\\x00-\x1f]")


def checked_name(name: Any, where: str) -> str:
    """A name that a folder and a group of an HDF5 file can have.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(name, str) and name.strip(".") and name == name.strip() and len(name) <= 200 and not _REFUSED.search(name):
        return name
    possible = _REFUSED.sub("_", str(name)).strip(" .")[:200] or "cells"
    raise ParameterError(
        f"{where}: files bear this name. It is a text of at most 200 characters without / and \\, neither beginning nor ending "
        f"with a space, and not of dots alone; {possible!r} would do."
    )
