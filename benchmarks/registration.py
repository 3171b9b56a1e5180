"""How well and how fast heads are registered across contrasts, against convexAdam.

    pip install -r benchmarks/requirements.txt
    python benchmarks/registration.py data/head --pairs 10 --threads 2

The T1 of one head is fixed, the T2 of another moves; the moving head's true labels are
carried over and compared with the fixed head's, as the mean Dice of all structures.
The folder holds a BIDS tree with derivatives/truth, or files XX_T1.nii.gz, XX_T2.nii.gz
and XX_nine.nii.gz; pairs are named `fixed:moving`, or as many as wanted are taken.
Both methods take turns on each pair. Then both register an image of 192 x 192 x 64
voxels, the usual size in this study, and ours on the GPU where there is one.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from convexAdam.convex_adam_MIND import convex_adam_pt
from scipy import ndimage

from noisyseg import registration, volume
from noisyseg.displacements import Field
from noisyseg.volume import Volume

LARGE = (192, 192, 64)
BOUND = 0.5  # of our time, times convexAdam's
FOLDING_BOUND = 0.005


def ours(fixed, moving, device="cpu"):
    return registration.register(fixed, moving, device=device)


def theirs(fixed, moving):
    """convexAdam with its own settings, which wants images on one grid."""
    found = convex_adam_pt(
        fixed.data, moving.data, dtype=torch.float32, device=torch.device("cpu")
    )
    shift_mm = np.einsum("wv,xyzv->wxyz", fixed.affine[:3, :3], found)
    return Field(shift_mm.astype(np.float32), fixed.affine)


METHODS = {"ours": ours, "convexAdam": theirs}


def paths(folder, head):
    """T1, T2 and truth of a head."""
    if (folder / f"sub-{head}").exists():
        anat, truth = Path(f"sub-{head}/anat"), folder / "derivatives/truth"
        names = [anat / f"sub-{head}_{kind}.nii" for kind in ("T1w", "T2w", "dseg")]
        return folder / names[0], folder / names[1], truth / names[2]
    return [folder / f"{head}_{kind}.nii.gz" for kind in ("T1", "T2", "nine")]


def choose_pairs(folder, wanted):
    """Named pairs, or the first half of the heads each with one of the second."""
    if not wanted[0].isdigit():
        return [tuple(pair.split(":")) for pair in wanted]
    heads = [path.name[4:] for path in folder.glob("sub-*")]
    heads = sorted(heads or [path.name[:-10] for path in folder.glob("*_T1.nii.gz")])
    half = len(heads) // 2
    return list(zip(heads[:half], heads[half:], strict=False))[: int(wanted[0])]


def dice(truth, labels):
    """Mean over the structures that either has."""
    values = np.union1d(np.unique(truth), np.unique(labels))
    scores = [
        2
        * np.sum((truth == v) & (labels == v))
        / (np.sum(truth == v) + np.sum(labels == v))
        for v in values[values > 0]
    ]
    return np.mean(scores)


def compare(folder, pairs):
    """One row of Dice, seconds and folding for each pair and method."""
    rows = {name: [] for name in METHODS}
    print(
        "pair      before " + "".join(f"{name:>12} s      folded" for name in METHODS)
    )
    for fixed_head, moving_head in pairs:
        first, second = paths(folder, fixed_head), paths(folder, moving_head)
        fixed, moving = volume.read_image(first[0]), volume.read_image(second[1])
        truth, labels = volume.read_labels(first[2]), volume.read_labels(second[2])
        before = volume.resample(labels, truth, order=0)
        line = f"{fixed_head}:{moving_head}    {dice(truth.data, before.data):6.3f} "
        for name, method in METHODS.items():
            start = time.perf_counter()
            field = method(fixed, moving)
            seconds = time.perf_counter() - start
            score = dice(truth.data, registration.warp(labels, field, order=0).data)
            rows[name].append((score, seconds, registration.folding(field)))
            line += "{:7.3f}{:8.2f}  {:.5f} ".format(*rows[name][-1])
        print(line, flush=True)
    return {name: np.array(row).T for name, row in rows.items()}


def report(rows):
    """Means, and whether the bounds hold."""
    for name, (scores, seconds, folded) in rows.items():
        print(
            f"{name:12} Dice {scores.mean():.4f} (lowest {scores.min():.3f})   "
            f"{seconds.mean():6.2f} s   folded at most {folded.max():.3%}"
        )
    mine, peer = rows["ours"], rows["convexAdam"]
    ratio = mine[1].sum() / peer[1].sum()
    bounds = {
        "Dice at least convexAdam's": mine[0].mean() >= peer[0].mean(),
        f"at most x {BOUND} of its time (x {ratio:.2f})": ratio <= BOUND,
        f"folding below {FOLDING_BOUND:.1%}": mine[2].max() < FOLDING_BOUND,
    }
    for bound, holds in bounds.items():
        print(f"{bound}: {'holds' if holds else 'DOES NOT HOLD'}")


def draw_large():
    """A textured image of 192 x 192 x 64 voxels, and the same bent and inverted."""
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(size=LARGE), 3).astype(np.float32)
    affine = np.diag([0.5, 0.5, 1.5, 1.0])
    bend = np.stack([np.sin(axis / 15) for axis in np.indices(LARGE)[[1, 2, 0]]])
    fixed = Volume(texture / texture.std(), affine)
    moving = registration.warp(fixed, Field(bend.astype(np.float32), affine))
    return fixed, Volume(-moving.data, affine)


def time_large():
    fixed, moving = draw_large()
    tasks = {name: lambda m=m: m(fixed, moving) for name, m in METHODS.items()}
    if torch.cuda.is_available():
        ours(fixed, moving, "cuda")  # warms up
        tasks[torch.cuda.get_device_name()] = lambda: ours(fixed, moving, "cuda")
    print(" x ".join(map(str, LARGE)))
    for name, task in tasks.items():
        start = time.perf_counter()
        task()
        print(f"{name:12} {time.perf_counter() - start:8.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path, help="folder of heads")
    parser.add_argument("--pairs", nargs="+", default=["10"], help="10, or 01:02 03:05")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    report(compare(arguments.heads, choose_pairs(arguments.heads, arguments.pairs)))
    time_large()


if __name__ == "__main__":
    main()
