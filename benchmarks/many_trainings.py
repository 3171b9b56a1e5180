"""How to train many small U-Nets: one by one, in processes, or all in one batched pass.

    python benchmarks/many_trainings.py [--device cuda]

The same networks on the same data with the same Adam, by torch.func.vmap over stacked
weights or without. Prints seconds, the ratio to one after another, and how far the
first network's last loss lies from it. On CUDA only the ways of one process. Starting
the processes is not counted: a study pays for it once.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from noisyseg import networks

SIZE, CHANNELS, BATCH, CLASSES, RATE = 48, 3, 8, 2, 0.001
DISCS = 16  # images of a training set


def discs(rng):
    """Images with a bright disc in noise, float32, and where it is, int64."""
    y, x = np.mgrid[:SIZE, :SIZE]
    centres = rng.uniform(12, 36, (DISCS, 2, 1, 1))
    radii = rng.uniform(4, 12, (DISCS, 1, 1))
    labels = np.hypot(y - centres[:, 0], x - centres[:, 1]) < radii
    noise = rng.standard_normal((DISCS, CHANNELS, SIZE, SIZE))
    images = labels[:, None] + 0.5 * noise
    return torch.tensor(images).float(), torch.tensor(labels).long()


def batches(seed, steps, device):
    """The batches of one training, on the device: (images, labels), step by step."""
    rng = np.random.default_rng(seed)
    images, labels = (part.to(device) for part in discs(rng))
    chosen = torch.from_numpy(rng.integers(DISCS, size=(steps, BATCH))).to(device)
    return [(images[rows], labels[rows]) for rows in chosen]


def network(seed, device):
    """The U-Net of one training."""
    sizes = dict(n_classes=CLASSES, image_size=SIZE, in_channels=CHANNELS)
    return networks.build("unet", **sizes, rng=np.random.default_rng(seed)).to(device)


def one_by_one(seeds, steps, device):
    """Last losses of trainings one after another, float32 (networks,)."""
    losses = []
    for seed in seeds:
        model = network(seed, device).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
        for images, labels in batches(seed, steps, device):
            value = F.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        losses.append(value.detach())
    return torch.stack(losses).cpu()


def all_in_one(seeds, steps, device):
    """Last losses of trainings in one batched pass, float32 (networks,).

    Batch normalisation moves its running means in place, which vmap allows since every
    network brings its own, stacked like the weights.
    """
    models = [network(seed, device).train() for seed in seeds]
    weights, buffers = stack_module_state(models)
    skeleton = models[0]

    def loss(weights, buffers, images, labels):
        logits = functional_call(skeleton, (weights, buffers), (images,))
        return F.cross_entropy(logits, labels)

    step = vmap(grad_and_value(loss))
    weights = {name: weight.detach() for name, weight in weights.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=RATE, fused=True)
    for parts in zip(*(batches(seed, steps, device) for seed in seeds), strict=True):
        images, labels = (torch.stack(part) for part in zip(*parts, strict=True))
        gradients, values = step(weights, buffers, images, labels)
        for name, weight in weights.items():
            weight.grad = gradients[name]
        optimiser.step()
    return values.cpu()


def here(train, seeds, steps):
    """Seconds of trainings in this process, and the last loss of the first."""
    start = time.perf_counter()
    found = train(seeds, steps)
    return time.perf_counter() - start, found[0].item()


def shared_out(pool, train, seeds, steps):
    """The same with the trainings shared out to a pool of two processes."""
    start = time.perf_counter()
    found = list(pool.map(train, [seeds[::2], seeds[1::2]], [steps] * 2))
    return time.perf_counter() - start, found[0][0].item()


def best_times(ways, seeds, steps, repeats):
    """Least seconds of each way, and its loss; the ways take turns."""
    best = {name: (float("inf"), None) for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            found = way(seeds, steps if repeat > 0 else 2)
            if repeat > 0:  # the first warms up
                best[name] = min(best[name], found)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    serial = partial(one_by_one, device=arguments.device)
    batched = partial(all_in_one, device=arguments.device)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn, torch.set_num_threads, (1,)) as pool:
        ways = {
            "one after another": partial(here, serial),
            "all in one batched pass": partial(here, batched),
        }
        if arguments.device == "cpu":
            ways |= {
                "two processes": partial(shared_out, pool, serial),
                "two, batched passes": partial(shared_out, pool, batched),
            }
        seeds = list(range(arguments.networks))
        best = best_times(ways, seeds, arguments.steps, arguments.repeats)
    report(best, arguments)


def report(best, arguments):
    """Print the table."""
    where = f"{torch.backends.cpu.get_cpu_capability()}, 2 threads in all"
    if arguments.device == "cuda":
        where = torch.cuda.get_device_name()
    print(
        f"{where}, {arguments.networks} U-Nets, {arguments.steps} steps of "
        f"{BATCH} x {CHANNELS} x {SIZE} x {SIZE}"
    )
    usual, loss = best["one after another"]
    for name, (seconds, last) in best.items():
        print(
            f"{name:23}  {seconds:6.2f} s  speed x {usual / seconds:.2f}"
            f"  loss {last:.5f} ({last - loss:+.0e})"
        )


if __name__ == "__main__":
    main()
