"""How long label fusion takes and what small structures it keeps, against SimpleITK.

    python benchmarks/fusion.py --threads 2

Thirty raters label a tumour and both cochleas in 192 x 192 x 64 voxels, each structure
up to two voxels aside. Ours: majority vote, STAPLE per label where raters disagree, and
a vote weighted by descriptors of 12 channels. Peers: SimpleITK's vote, its STAPLE of
several labels and its binary STAPLE of the whole image (a minute).
"""

import argparse
import time

import numpy as np
import SimpleITK as sitk

from noisyseg import fusion

SHAPE, RATERS, REACH_VOX = (192, 192, 64), 30, 2
BALLS = (((60, 96, 30), 9.0, 1), ((50, 110, 30), 4.0, 2), ((142, 110, 30), 4.0, 2))


def truth():
    """A tumour of 3050 voxels and two cochleas of 257."""
    at, labels = np.indices(SHAPE), np.zeros(SHAPE, np.uint8)
    for centre, radius, value in BALLS:
        apart = sum((a - c) ** 2 for a, c in zip(at, centre, strict=True))
        labels[apart <= radius**2] = value
    return labels


def rated(rng):
    """Labels of the raters, uint8 (R, X, Y, Z)."""
    parts = [(truth() == value, value) for value in (1, 2)]
    labels = np.zeros((RATERS, *SHAPE), np.uint8)
    for given in labels:
        for mask, value in parts:
            step = rng.integers(-REACH_VOX, REACH_VOX + 1, 3)
            given[np.roll(mask, step, (0, 1, 2))] = value
    return labels


def images(labels):
    return [sitk.GetImageFromArray(each) for each in labels]


def peer_vote(labels):
    voting = sitk.LabelVotingImageFilter()
    voting.SetLabelForUndecidedPixels(0)
    return sitk.GetArrayFromImage(voting.Execute(images(labels)))


def peer_multi_label(labels):
    peer = sitk.MultiLabelSTAPLEImageFilter()
    peer.SetLabelForUndecidedPixels(0)
    peer.SetMaximumNumberOfIterations(200)
    return sitk.GetArrayFromImage(peer.Execute(images(labels)))


def peer_binary(labels):
    fused = np.zeros(SHAPE, np.uint8)
    for value in (1, 2):
        peer = sitk.STAPLEImageFilter()
        peer.SetForegroundValue(value)
        peer.SetMaximumIterations(200)
        fused[sitk.GetArrayFromImage(peer.Execute(images(labels))) > 0.5] = value
    return fused


def weighted(labels, rng):
    """A vote with the weights of random descriptors: for its time only."""
    fixed = rng.random((12, *SHAPE), np.float32)
    moved = (fixed + np.float32(0.01 * k) for k in range(RATERS))
    weights = fusion.local_weights(fixed, moved)
    return fusion.weighted_vote(labels, weights, n_classes=3)


def dice(a, b):
    return 2.0 * np.sum(a & b) / (np.sum(a) + np.sum(b))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(arguments.threads)
    rng = np.random.default_rng(0)
    labels, wanted = rated(rng), truth()
    methods = {
        "majority_vote": lambda: fusion.majority_vote(labels, n_classes=3),
        "staple": lambda: fusion.staple(labels, n_classes=3)[0],
        "staple, no margin": lambda: fusion.staple(labels, n_classes=3, margin_vox=0)[
            0
        ],
        "weighted_vote": lambda: weighted(labels, rng),
        "SimpleITK vote": lambda: peer_vote(labels),
        "SimpleITK multi-label STAPLE": lambda: peer_multi_label(labels),
        "SimpleITK binary STAPLE, whole image": lambda: peer_binary(labels),
    }
    print(f"{'':38}{'s':>7}  Dice of 1   of 2   volume of 2 (true 1)")
    for name, method in methods.items():
        start = time.perf_counter()
        fused = method()
        seconds = time.perf_counter() - start
        scores = [dice(fused == value, wanted == value) for value in (1, 2)]
        share = np.sum(fused == 2) / np.sum(wanted == 2)
        print(f"{name:38}{seconds:7.2f}  {scores[0]:9.3f}{scores[1]:7.3f}{share:9.2f}")


if __name__ == "__main__":
    main()
