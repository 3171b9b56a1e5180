"""How long MIND-SSC takes, and how much memory, against convexAdam's.

    pip install -r benchmarks/requirements.txt
    python benchmarks/mind.py --threads 2

Both describe the same image of 192 x 192 x 64 voxels; they take turns, and the least
time of each counts. The memory of each is the peak of a process of its own, above what
it held before. On the GPU too where there is one.
"""

import argparse
import multiprocessing
import re
import time
from pathlib import Path

import torch
from convexAdam.convex_adam_utils import MINDSSC

from noisyseg.mind import mind_ssc

SHAPE, RADIUS, DILATION = (192, 192, 64), 1, 2


def ours(image):
    return mind_ssc(image, radius=RADIUS, dilation=DILATION)


def theirs(image):
    return MINDSSC(image[None, None], RADIUS, DILATION, device=image.device)[0]


TASKS = {"ours": ours, "convexAdam": theirs}


def draw():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def best_times(image, repeats):
    """Least seconds of each; the tasks take turns."""
    best = dict.fromkeys(TASKS, float("inf"))
    for repeat in range(repeats + 1):
        for name, task in TASKS.items():
            start = time.perf_counter()
            task(image)
            if image.is_cuda:
                torch.cuda.synchronize()
            if repeat > 0:  # the first warms up
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def memory_mib(field):
    """VmRSS, what this process holds, or VmHWM, the most it held (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024


def peak_mib(name, threads):
    """Memory of a task above what the process held before it."""
    torch.set_num_threads(threads)
    image = draw()
    TASKS[name](image[:16, :16, :16])  # loads what is loaded late
    before = memory_mib("VmRSS")
    TASKS[name](image)
    return memory_mib("VmHWM") - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    image = draw()
    apart = (ours(image) - theirs(image)).abs().max()
    print(f"{' x '.join(map(str, SHAPE))}: largest difference {apart:.1e}")
    for device in ["cpu", "cuda"][: 1 + torch.cuda.is_available()]:
        best = best_times(image.to(device), arguments.repeats)
        for name, seconds in best.items():
            ratio = seconds / best["convexAdam"]
            print(f"{device:5}{name:12}{seconds:8.3f} s    x {ratio:.2f}")
    peaks = {}
    for name in TASKS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks[name] = pool.apply(peak_mib, (name, arguments.threads))
    for name, peak in peaks.items():
        print(f"cpu  {name:12}{peak:8.0f} MiB  x {peak / peaks['convexAdam']:.2f}")


if __name__ == "__main__":
    main()
