"""Draws the pictures of this folder: what the examples draw, by `dist-sim run` or on their own.

    python examples/figures/draw.py

It takes a quarter of an hour.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PICTURES = {  # file here: example, its parameters, file in the results of the run
    "microcircuit.png": ("microcircuit.py", ["t_sim=1000"], "raster.png"),
    "brette_coba.png": ("brette.py", ["model=coba"], "brette_coba.png"),
    "brette_cuba.png": ("brette.py", ["model=cuba"], "brette_cuba.png"),
    "brunel.png": ("brunel.py", ["regime=all"], "brunel_all.png"),
    "gamma.png": ("gamma.py", ["t_sim=800"], "gamma_all.png"),
    "mongillo_2008.png": ("mongillo_2008.py", ["mode=both"], "mongillo_2008_both.png"),
    "joglekar.png": ("joglekar.py", ["scale=1"], "joglekar.png"),
    "wang_2002.png": ("wang_2002.py", [], "wang_2002.png"),
}
ALONE = {"digits.png": "digits.py"}  # file here: example, which is told where to draw


def main() -> None:
    for name, (example, parameters, drawn) in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            options = [word for parameter in parameters for word in ("--set", parameter)]
            command = [sys.executable, "-m", "dist_sim", "run", str(HERE.parent / example), "--out", f"{folder}/run", *options]
            subprocess.run([*command, "--devices", "2"], check=True)
            shutil.copyfile(f"{folder}/run/results/{drawn}", HERE / name)
    for name, example in ALONE.items():
        subprocess.run([sys.executable, str(HERE.parent / example), "--out", str(HERE / name)], check=True)


if __name__ == "__main__":
    main()
