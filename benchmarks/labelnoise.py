"""How long Gaussian fields and Dice-optimal thresholds take, against their peers.

    pip install -r benchmarks/requirements.txt
    python benchmarks/labelnoise.py --threads 2

Draws a displacement field of three components on 192 x 192 x 64 voxels by
`labelnoise.draw_fields` and by GSTools' randomisation method (RandMeth) with its
default number of modes (minutes), and checks the covariance of both. Then finds the
Dice-optimal threshold of ten million probabilities by sorting, by the iteration and by
rankseg. On the GPU too where there is one.
"""

import argparse
import time

import gstools
import numpy as np
import torch
from rankseg import rankseg_rma

from noisyseg import labelnoise, thresholds

SHAPE, SCALE_VOX = (192, 192, 64), 8.0
N_PROBABILITIES = 10_000_000


def seconds(task, repeats):
    """Least seconds of a task, and what it returned; the first run warms up."""
    best = np.inf
    for _ in range(repeats + 1):
        start = time.perf_counter()
        found = task()
        best = min(best, time.perf_counter() - start)
    return best, found


def ours(device="cpu"):
    rng = np.random.default_rng(0)
    return labelnoise.draw_fields(3, SHAPE, (1, 1, 1), SCALE_VOX, rng, device=device)


def theirs():
    """One component; three cost three times as much."""
    model = gstools.Gaussian(dim=3, var=1, len_scale=SCALE_VOX, rescale=1 / np.sqrt(2))
    field = gstools.SRF(model, seed=0)
    return field.structured([np.arange(n) for n in SHAPE])


def correlation(field):
    """Of neighbours at the correlation length, along the first axis."""
    lag = int(SCALE_VOX)
    return np.mean(field[lag:] * field[:-lag]) / np.mean(field**2)


def by_rankseg(tensor):
    return rankseg_rma(tensor, output_mode="multilabel", pruning_prob=0.0)[0, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    gstools.config.NUM_THREADS = arguments.threads

    quick, fields = seconds(ours, arguments.repeats)
    slow, field = seconds(theirs, 0)
    print(f"field, ours      {quick:8.3f} s   correlation {correlation(fields[0]):.3f}")
    print(f"field, GSTools   {3 * slow:8.3f} s   correlation {correlation(field):.3f}")
    print(f"ratio            {3 * slow / quick:8.0f}     (wanted: correlation 0.607)")
    if torch.cuda.is_available():
        gpu, _ = seconds(lambda: ours("cuda"), arguments.repeats)
        print(f"field, {torch.cuda.get_device_name()} {gpu:8.3f} s")

    prob = np.random.default_rng(0).random(N_PROBABILITIES, np.float32) ** 3
    tensor = torch.from_numpy(prob)[None, None]
    by = {
        "sort": lambda: thresholds.dice_optimal(prob)[0],
        "iteration": lambda: thresholds.iterate(prob)[-1],
        "rankseg": lambda: prob[by_rankseg(tensor).numpy() > 0].min(),
    }
    for name, task in by.items():
        spent, threshold = seconds(task, arguments.repeats)
        print(f"threshold, {name:12}{spent:6.3f} s   {threshold:.7f}")


if __name__ == "__main__":
    main()
