"""Digital heads against real ones: volumes, layers, neighbourhoods, intensities.

    python benchmarks/phantoms.py DIR [--coding synthseg] [--heads 8] [--out FILE]

DIR holds whole-head label maps. Both kinds are compared from the top of the head 150 mm
down, where every scan shows the head, on the same grid and through the same physics.
With --out, the measures of the real heads are written as CSV.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from noisyseg import heads, labelmaps, morphometry, phantoms, physics
from noisyseg.grids import Grid
from noisyseg.labeltables import HEAD
from noisyseg.volume import Volume

GRID = Grid((96, 120, 120), 2.0, 1.0)
KEYS = ["measure", "structure", "other"]
TITLES = {
    "volume_ml": "volume (ml)",
    "sheet_mm": "thickness 2 V / A (mm)",
    "layer_mm": "layers over the vault (mm)",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--coding", default="synthseg", choices=labelmaps.CODINGS)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    real = []
    for k, path in enumerate(sorted(options.folder.glob("*.nii*"))):
        rng = np.random.default_rng((1, k))
        real.append(
            measure(labelmaps.read_tissues(path, options.coding, GRID, rng), rng)
        )
    if options.out:
        morphometry.summarise(real).to_csv(
            options.out, index=False, lineterminator="\n"
        )
    drawn, seconds = [], []
    for k in range(options.heads):
        rng = np.random.default_rng((2, k))
        start = time.process_time()
        anatomy = heads.draw(rng)
        tissues = heads.render(anatomy, GRID.tissue_shape, GRID.tissue_spacing_mm)
        seconds.append(time.process_time() - start)
        drawn.append(measure(tissues, rng))
    report(real, drawn)
    print(f"\nrender: {np.median(seconds):.1f} core-seconds a head")


def measure(tissues, rng):
    """The measures of one tissue map, imaged."""
    spacings = GRID.tissue_spacing_mm, GRID.spacing_mm
    labels = Volume(physics.truth(tissues, *spacings), GRID.affine)
    images = {
        name: labels.with_data(physics.acquire(tissues, sequence, *spacings, rng))
        for name, sequence in phantoms.SEQUENCES.items()
    }
    return morphometry.measure(labels, images, HEAD)


def report(real, drawn):
    """Prints the tables."""
    both = morphometry.summarise(real).merge(
        morphometry.summarise(drawn), on=KEYS, suffixes=("_real", "")
    )
    spread = pd.concat(drawn).groupby(KEYS, sort=False)["value"].std().reset_index()
    both = both.merge(spread.rename(columns={"value": "sd"}), on=KEYS)
    for measure_name, title in TITLES.items():
        print(
            f"\n{title:28}{'real':>8}{'range':>16}{'phantom':>10}{'SD':>7}{'range':>16}"
        )
        for row in both[both.measure == measure_name].itertuples():
            inside = row.low_real <= row.mean <= row.high_real
            print(
                f"{row.structure:28}{row.mean_real:8.1f}{row.low_real:9.1f}-"
                f"{row.high_real:<6.1f}{row.mean:10.1f}{row.sd:7.1f}{row.low:9.1f}-"
                f"{row.high:<6.1f}{'' if inside else '  outside'}"
            )
    print("\nneighbours: % of a class's faces, real | phantom")
    print(" " * 12 + "".join(f"{name[:10]:>11}" for name in HEAD.names))
    for name, rows in both[both.measure == "contact"].groupby("structure", sort=False):
        pairs = zip(rows.mean_real * 100, rows["mean"] * 100, strict=True)
        print(f"{name:12}" + "".join(f"{a:6.0f} |{b:3.0f}" for a, b in pairs))
    print("\noverlap of intensity histograms of real and phantom (1 = the same)")
    for name in phantoms.SEQUENCES:
        part = both[both.measure == name]
        least = np.minimum(part.mean_real, part["mean"])
        shared = least.groupby(part.structure, sort=False).sum()
        print(f"{name}  " + "  ".join(f"{n} {v:.2f}" for n, v in shared.items()))


if __name__ == "__main__":
    main()
