"""Digital heads against real ones: volumes, thicknesses, neighbourhoods, intensities.

    python benchmarks/phantoms.py DIR [--coding synthseg] [--heads 8]

DIR holds whole-head label maps. Both kinds are compared from the top of the head 150 mm
down, where every scan shows the head, on the same grid and through the same physics.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from noisyseg import heads, phantoms, physics
from noisyseg.labeltables import HEAD

GRID = phantoms.Grid((96, 120, 120), 2.0, 1.0)
DEPTH_MM = 150
K = len(HEAD)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--coding", default="synthseg")
    parser.add_argument("--heads", type=int, default=8)
    options = parser.parse_args()
    real = [
        measure(phantoms.read_tissues(path, options.coding, GRID, 0.0, None), 10_000 + k)
        for k, path in enumerate(sorted(options.folder.glob("*.nii*")))
    ]
    drawn, seconds = [], []
    for k in range(options.heads):
        start = time.process_time()
        anatomy = heads.draw(np.random.default_rng(np.random.SeedSequence(7, k)))
        tissues = heads.render(anatomy, GRID.tissue_shape, GRID.tissue_spacing_mm)
        drawn.append(measure(tissues, k))
        seconds.append(time.process_time() - start)
    report(real, drawn)
    print(f"\n{np.median(seconds):.1f} core-seconds a head, measuring included")


def measure(tissues, seed):
    """All figures of one head."""
    rng = np.random.default_rng(seed)
    spacings = GRID.tissue_spacing_mm, GRID.spacing_mm
    labels = physics.truth(tissues, *spacings)
    top = np.flatnonzero((labels > 0).any(axis=(0, 1)))[-1]
    low = max(top + 1 - int(DEPTH_MM / GRID.spacing_mm), 0)
    labels = labels[:, :, low : top + 3]
    images = {
        name: physics.acquire(tissues, sequence, *spacings, rng)[:, :, low : top + 3]
        for name, sequence in phantoms.SEQUENCES.items()
    }
    contacts = neighbours(labels)
    volumes = np.bincount(labels.ravel(), minlength=K) * GRID.spacing_mm**3 / 1000
    return {
        "volume": volumes,
        "thickness": thickness(volumes, contacts),
        "rays": layers(labels),
        "contacts": contacts,
        "histograms": {n: histograms(labels, image) for n, image in images.items()},
    }


def neighbours(labels):
    """Voxel faces between every two classes, (K, K)."""
    count = np.zeros((K, K))
    for axis in range(3):
        a = np.moveaxis(labels, axis, 0)
        pairs = a[:-1].astype(np.int64) * K + a[1:]
        count += np.bincount(pairs.ravel(), minlength=K * K).reshape(K, K)
    count = count + count.T
    np.fill_diagonal(count, 0)
    return count


def thickness(volumes, contacts):
    """Mean thickness (mm) of each class as a sheet: 2 V / A, A = voxel faces / 1.5."""
    area_mm2 = contacts.sum(axis=1) * GRID.spacing_mm**2 / 1.5
    return 2 * volumes * 1000 / np.maximum(area_mm2, 1)


def layers(labels):
    """Mean depth (mm) of scalp, skull and outer fluid along rays through the vault."""
    brain = np.argwhere((labels == 1) | (labels == 2))
    centre = brain.mean(axis=0) + [0, 0, 6]
    golden = np.arange(1500) * np.pi * (3 - 5**0.5)
    up = np.linspace(0.15, 1, 1500)
    flat = np.sqrt(1 - up * up)
    rays = np.stack([flat * np.cos(golden), flat * np.sin(golden), up], axis=1)
    steps = np.arange(0, 62, 0.25)
    at = np.rint(centre + steps[:, None, None] * rays).astype(int)
    at = np.clip(at, 0, np.array(labels.shape) - 1)
    seen = labels[at[..., 0], at[..., 1], at[..., 2]]
    outer = np.cumsum((seen[::-1] == 2) | (seen[::-1] == 1), axis=0)[::-1] == 0
    step_mm = 0.25 * GRID.spacing_mm
    return np.array([(seen == c)[outer].sum() / 1500 * step_mm for c in (5, 4, 3)])


def histograms(labels, image):
    """Normalised histograms of each class over 60 bins of 50 units, (K, 60)."""
    bins = np.clip(image // 50, 0, 59).astype(np.int64)
    count = np.bincount((labels.astype(np.int64) * 60 + bins).ravel(), minlength=K * 60)
    count = count.reshape(K, 60).astype(float)
    return count / np.maximum(count.sum(axis=1, keepdims=True), 1)


def report(real, drawn):
    """Prints the tables."""
    for title, key in (("volume (ml)", "volume"), ("thickness 2V/A (mm)", "thickness")):
        rows = [(HEAD.names[c], c) for c in range(1, K)]
        table(title, rows, [r[key] for r in real], [d[key] for d in drawn])
    rows = list(zip(("scalp", "skull", "outer fluid"), range(3), strict=True))
    title = "layers over the vault (mm)"
    table(title, rows, [r["rays"] for r in real], [d["rays"] for d in drawn])
    shares = [shared([x["contacts"] for x in group]) for group in (real, drawn)]
    print("\nneighbours: % of a class's faces, real | phantom")
    print(f"{'':11}" + "".join(f"{n[:9]:>11}" for n in HEAD.names))
    for c in range(1, K):
        cells = zip(shares[0][c], shares[1][c], strict=True)
        print(f"{HEAD.names[c]:11}" + "".join(f"{a:5.0f} |{b:4.0f}" for a, b in cells))
    print("\noverlap of intensity histograms, phantom with real (1 = the same)")
    for name in phantoms.SEQUENCES:
        a, b = (np.mean([x["histograms"][name] for x in g], axis=0) for g in (real, drawn))
        overlap = np.minimum(a, b).sum(axis=1)
        cells = zip(HEAD.names, overlap, strict=True)
        print(f"{name}  " + "  ".join(f"{n} {o:.2f}" for n, o in cells))


def shared(contacts):
    """Mean share (%) of each class's faces that touch each other class."""
    parts = [c / np.maximum(c.sum(axis=1, keepdims=True), 1) for c in contacts]
    return 100 * np.mean(parts, axis=0)


def table(title, rows, real, drawn):
    """One line a row: real mean and range, phantom mean, SD and range."""
    real, drawn = np.array(real), np.array(drawn)
    print(f"\n{title:24}{'real mean':>10}{'range':>14}{'phantom':>10}{'SD':>7}{'range':>14}")
    for name, c in rows:
        a, b = real[:, c], drawn[:, c]
        inside = "" if a.min() <= b.mean() <= a.max() else "  outside"
        print(
            f"{name:24}{a.mean():10.1f}{a.min():8.1f}-{a.max():<6.1f}{b.mean():9.1f}"
            f"{b.std():7.1f}{b.min():8.1f}-{b.max():<6.1f}{inside}"
        )


if __name__ == "__main__":
    main()
