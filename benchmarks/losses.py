"""How long a loss takes, forward and backward, against torch's cross-entropy.

    python benchmarks/losses.py --threads 2

Prints milliseconds per batch of each loss and its ratio to torch.nn.functional's
cross_entropy on the same logits; on the GPU too where there is one. The losses take
turns, so that a busy machine disturbs all of them alike: the first ratio is that of
the least times, the second the median of the ratios turn by turn (few losses at a time,
`--only`, make that steadier). Losses of labels that name a set of classes see one such
label beside those of one class; there are slices, and patches of volumes. The last
lines of a table say whether a loss keeps its bound.

With other work on the same cores, OpenMP threads that spin cost milliseconds at every
small step, which only the losses of many steps feel: set OMP_WAIT_POLICY=passive then.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from noisyseg import losses

SLICES = (16, 9, 256, 256)  # batch, classes, pixels of a training step
PATCHES = (7, 5, 32, 32, 32)
BOUND = 1.3  # of the losses in BOUNDED, times torch's cross_entropy
BOUNDED = ("beta_cross_entropy", "label_set_cross_entropy")
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


def measure(tasks, repeats):
    """Seconds of each task, a list; the tasks take turns."""
    seconds = {name: [] for name in tasks}
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if repeat > 0:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def make_tasks(shape, plain, device):
    """What is measured at one shape: torch's loss, losses of sets, and `plain` ones."""
    generator = torch.Generator().manual_seed(0)
    n_classes, size = shape[1], (shape[0], *shape[2:])
    logits = torch.randn(shape, generator=generator).to(device).requires_grad_()
    named = torch.randint(0, n_classes + 1, size, generator=generator).to(device)
    labels = named.clamp(max=n_classes - 1)
    sets = [*([c] for c in range(n_classes)), list(range(n_classes - 1))]
    tasks = {USUAL: prepare(F.cross_entropy, logits, labels)}
    for name, row in plain.items():
        loss = losses.build(**row)
        if isinstance(loss, torch.nn.Module):
            loss.to(device)
        tasks[name] = prepare(loss, logits, labels)
    for name in losses.OF_SETS:
        tasks[name] = prepare(losses.build(name, sets=sets), logits, named)
    ignoring = losses.build(BOUNDED[1], sets=sets, ignore_index=255)
    return tasks | {f"{BOUNDED[1]}, ignoring": prepare(ignoring, logits, named)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="losses to measure; default all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for device in ["cpu", "cuda"][: 1 + torch.cuda.is_available()]:
        for shape, plain, times in ((SLICES, VARIANTS, 1), (PATCHES, {}, 10)):
            tasks = make_tasks(shape, plain, device)
            if arguments.only:
                tasks = {name: tasks[name] for name in (USUAL, *arguments.only)}
            seconds = measure(tasks, times * arguments.repeats)
            report(device, shape, seconds, arguments.threads)


def report(device, shape, seconds, threads):
    """Print the table of a device and shape."""
    where = f"{torch.backends.cpu.get_cpu_capability()}, {threads} threads"
    if device == "cuda":
        where = torch.cuda.get_device_name()
    print(f"{where}, batches of {' x '.join(map(str, shape))}, float32")
    for name, values in seconds.items():
        ratio, middle = ratios(values, seconds[USUAL])
        print(f"{name:34} {1e3 * min(values):8.2f} ms  x {ratio:.2f}  x {middle:.2f}")
    for name in set(BOUNDED) & set(seconds):
        ratio, middle = ratios(seconds[name], seconds[USUAL])
        verdict = "holds" if middle <= BOUND else "DOES NOT HOLD"
        print(f"{name} at most x {BOUND}: {verdict} (x {ratio:.2f}, x {middle:.2f})")
    print()


def ratios(values, usual):
    """Ratio of the least times, and median of the ratios turn by turn."""
    turns = [a / b for a, b in zip(values, usual, strict=True)]
    return min(values) / min(usual), statistics.median(turns)


if __name__ == "__main__":
    main()
