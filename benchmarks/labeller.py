"""Our EM labeller against ANTs Atropos, side by side on heads with known truth.

    python benchmarks/labeller.py FOLDER [--atlas FOLDER]
                                  [--atlas-ids 01 02 03] [--test-ids 05 06]

FOLDER holds heads as ``NN_T1.nii.gz, NN_T2.nii.gz, NN_nine.nii.gz``, or is a BIDS tree
with its truth under ``derivatives/truth``. Both labellers get the same atlas, aligned
by the same affine map. Atropos gets it blurred by 1 mm, a mask of the head from it,
and the best of several prior weights, chosen by the truth. At some settings it stops
with an error (a class that lost its last voxel, where the reason was read): such a
weight counts as failed. Needs ``benchmarks/requirements.txt``.
"""

import argparse
import os
import time
from pathlib import Path

THREADS = "2"
BLUR_MM = 1.0
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", THREADS)

import ants  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from scipy import ndimage  # noqa: E402

from noisyseg import atlases, labeller, volume  # noqa: E402
from noisyseg.labeltables import HEAD  # noqa: E402

INPUTS = {"T1": 1, "T1+T2": 2}


def head_paths(folder, subject):
    """Paths of the T1, the T2 and the truth of one head."""
    if (folder / f"{subject}_T1.nii.gz").exists():
        return [folder / f"{subject}_{kind}.nii.gz" for kind in ("T1", "T2", "nine")]
    name = subject if subject.startswith("sub-") else f"sub-{subject}"
    truth = folder / "derivatives" / "truth" / name / "anat" / f"{name}_dseg.nii"
    return [folder / name / "anat" / f"{name}_{k}.nii" for k in ("T1w", "T2w")] + [
        truth
    ]


def subjects_in(folder):
    """Names of all heads of a folder, sorted."""
    flat = [p.name.split("_")[0] for p in folder.glob("*_T1.nii.gz")]
    return sorted(flat or [p.name for p in folder.glob("sub-*") if p.is_dir()])


def load(folder, subject):
    """T1, T2 and truth of one head."""
    t1, t2, truth = head_paths(folder, subject)
    images = [volume.to_canonical(volume.read_image(p)) for p in (t1, t2)]
    return *images, volume.to_canonical(volume.read_labels(truth, HEAD))


def run_atropos(channels, priors, prior_weight):
    """Labels by Atropos, uint8 (X, Y, Z); classes that the atlas lacks are left out."""
    spacing = channels[0].spacing_mm
    sigma_vox = [BLUR_MM / s for s in spacing]
    classes = [c for c in range(1, len(priors)) if priors[c].max() > 0]
    soft = [ndimage.gaussian_filter(priors[c], sigma_vox) for c in classes]
    total = np.maximum(sum(soft), 1e-6)
    head = ndimage.gaussian_filter(priors[0], sigma_vox) < 0.5
    result = ants.atropos(
        a=[
            ants.from_numpy(v.data.astype(np.float32), spacing=spacing)
            for v in channels
        ],
        x=ants.from_numpy(head.astype(np.float32), spacing=spacing),
        i=[ants.from_numpy(p / total, spacing=spacing) for p in soft],
        m="[0.1,1x1x1]",
        c="[5,0]",
        priorweight=prior_weight,
    )
    found = result["segmentation"].numpy().astype(int)
    return np.array([0, *classes], np.uint8)[found]


def run_ours(channels, priors):
    """Labels by the EM labeller, uint8 (X, Y, Z)."""
    return labeller.segment(channels, priors).data


def dice_per_class(truth, labels, classes):
    """Dice of each class."""
    return [
        2
        * np.sum((truth == c) & (labels == c))
        / max(1, np.sum(truth == c) + np.sum(labels == c))
        for c in classes
    ]


def timed(function, *arguments):
    """Result and seconds."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def compare(head, priors, weights):
    """Rows (labeller, input, seconds per megavoxel, Dice per class) of one head."""
    *images, truth = head
    megavoxels = truth.data.size / 1e6
    classes = [c for c in range(1, len(HEAD)) if (truth.data == c).any()]
    rows = []
    for name, count in INPUTS.items():
        runs = {"ours": (run_ours, images[:count], priors)}
        for weight in weights:
            key = f"Atropos, prior weight {weight}"
            runs[key] = (run_atropos, images[:count], priors, weight)
        for key, (function, *arguments) in runs.items():
            try:
                labels, seconds = timed(function, *arguments)
            except Exception as error:  # a failed peer is a row of the table
                print(f"{key} failed on {name}: {str(error)[:80]}", flush=True)
                continue
            scores = dice_per_class(truth.data, labels, classes)
            row = {"labeller": key, "input": name, "s/Mvox": seconds / megavoxels}
            row |= {HEAD.names[c]: d for c, d in zip(classes, scores, strict=True)}
            rows.append(row | {"mean": float(np.mean(scores))})
            print(f"{name:6} {key}: {np.mean(scores):.3f}, {seconds:.1f} s", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--atlas", type=Path, help="folder of the atlas heads")
    parser.add_argument("--atlas-ids", nargs="+")
    parser.add_argument("--test-ids", nargs="+")
    parser.add_argument("--weights", nargs="+", type=float, default=[0.1, 0.25, 0.5])
    choice = parser.parse_args()
    torch.set_num_threads(int(THREADS))
    atlas_folder = choice.atlas or choice.folder
    known = subjects_in(choice.folder)
    half = (
        subjects_in(atlas_folder) if choice.atlas else known[: max(1, len(known) // 2)]
    )
    atlas_ids = choice.atlas_ids or half
    test_ids = (
        choice.test_ids or [s for s in known if choice.atlas or s not in atlas_ids][:2]
    )
    t1s, _, truths = zip(*(load(atlas_folder, s) for s in atlas_ids), strict=True)
    atlas, seconds = timed(atlases.build_atlas, t1s, truths, len(HEAD))
    print(f"atlas of {', '.join(atlas_ids)}: {seconds:.1f} s", flush=True)
    rows = []
    for subject in test_ids:
        head = load(choice.folder, subject)
        priors, seconds = timed(atlases.align, atlas, head[0])
        print(f"{subject}: aligned in {seconds:.1f} s", flush=True)
        rows += compare(head, priors, choice.weights)
    print_tables(pd.DataFrame(rows), test_ids)


def print_tables(rows, test_ids):
    """Markdown: mean over heads of every labeller, then the ratio to the best peer."""
    table = rows.groupby(["input", "labeller"], sort=False).mean().reset_index()
    print(f"\nMean over {', '.join(test_ids)}; {THREADS} threads\n")
    print(table.to_markdown(index=False, floatfmt=".3f"), "\n")
    for name, part in table.groupby("input", sort=False):
        ours = part[part.labeller == "ours"].iloc[0]
        peers = part[part.labeller != "ours"]
        if peers.empty:
            continue
        best = peers.loc[peers["mean"].idxmax()]
        print(
            f"{name}: mean Dice {ours['mean']:.3f} against {best['mean']:.3f} "
            f"({best['labeller']}), {best['s/Mvox'] / ours['s/Mvox']:.0f} times faster"
        )


if __name__ == "__main__":
    main()
