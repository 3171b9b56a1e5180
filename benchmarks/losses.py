"""How long a loss takes, forward and backward, against torch's cross-entropy.

    python benchmarks/losses.py --threads 2

Prints milliseconds per batch of each loss and its ratio to torch.nn.functional's
cross_entropy on the same logits; on the GPU too where there is one. The losses take
turns, and the least time of each counts, so that a busy machine disturbs all of them
alike. The last line of a device says whether beta_cross_entropy keeps its bound.

With other work on the same cores, OpenMP threads that spin cost milliseconds at every
small step, which only the losses of many steps feel: set OMP_WAIT_POLICY=passive then.
"""

import argparse
import time

import torch
import torch.nn.functional as F

from noisyseg import losses

SHAPE = (16, 9, 256, 256)  # batch, classes, pixels of a training step
BOUND = 1.3  # of beta_cross_entropy, times torch's cross_entropy
USUAL = "torch's cross_entropy"
VARIANTS = {name: dict(name=name) for name in losses.LOSSES} | {
    "beta_cross_entropy": dict(name="beta_cross_entropy", beta=0.3),
    "beta_cross_entropy, min_prob": dict(
        name="beta_cross_entropy", beta=0.3, min_prob=1e-7
    ),
    "hybrid_cross_entropy": dict(
        name="hybrid_cross_entropy", beta=0.3, plain_classes=[8]
    ),
}


def prepare(loss, logits, labels):
    """A function that takes the loss and its gradient once, and waits for both."""

    def task():
        logits.grad = None
        loss(logits, labels).backward()
        if logits.is_cuda:
            torch.cuda.synchronize()

    return task


def best_times(tasks, repeats):
    """Least seconds of each task; the tasks take turns."""
    best = dict.fromkeys(tasks, float("inf"))
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if repeat > 0:  # the first warms up
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    functions = {USUAL: F.cross_entropy}
    functions |= {name: losses.build(**row) for name, row in VARIANTS.items()}
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(SHAPE, generator=generator)
    labels = torch.randint(0, SHAPE[1], (SHAPE[0], *SHAPE[2:]), generator=generator)

    for device in ["cpu", "cuda"][: 1 + torch.cuda.is_available()]:
        there = logits.detach().to(device).requires_grad_()
        marks = labels.to(device)
        for function in functions.values():
            if isinstance(function, torch.nn.Module):
                function.to(device)
        tasks = {name: prepare(f, there, marks) for name, f in functions.items()}
        best = best_times(tasks, arguments.repeats)
        report(device, best, arguments.threads)


def report(device, best, threads):
    """Print the table of a device."""
    where = f"{torch.backends.cpu.get_cpu_capability()}, {threads} threads"
    if device == "cuda":
        where = torch.cuda.get_device_name()
    print(f"{where}, batches of {' x '.join(map(str, SHAPE))}, float32")
    for name, seconds in best.items():
        ratio = seconds / best[USUAL]
        print(f"{name:28}  {1e3 * seconds:8.2f} ms  x {ratio:.2f}")
    ratio = best["beta_cross_entropy"] / best[USUAL]
    verdict = "holds" if ratio <= BOUND else "DOES NOT HOLD"
    print(f"beta_cross_entropy at most x {BOUND}: {verdict} (x {ratio:.2f})\n")


if __name__ == "__main__":
    main()
