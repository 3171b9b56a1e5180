"""How fast the small TransUNet trains: memory layouts and precisions side by side.

    python benchmarks/training.py --threads 1

Prints milliseconds per slice of each variant and its ratio to contiguous float32. The
variants take turns, and the least time of each counts, so that a busy machine disturbs
all of them alike.
"""

import argparse
import time

import torch

from noisyseg import losses, networks
from noisyseg.settings import TrainingSettings
from noisyseg.training import forward

NETWORK = dict(
    name="transunet",
    n_classes=9,
    image_size=128,
    width=16,
    blocks=[1, 1, 1],
    hidden=64,
    mlp=128,
    heads=4,
    layers=2,
    bridge=64,
    decoder=[64, 32, 16, 16],
)
VARIANTS = {
    "float32, contiguous": dict(channels_last=False),
    "float32, channels-last": dict(channels_last=True),
    "bfloat16, contiguous": dict(channels_last=False, precision="bfloat16"),
    "bfloat16, channels-last": dict(channels_last=True, precision="bfloat16"),
}


def prepare(images, labels, settings):
    """A function that does one training step, and one that only predicts."""
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model = networks.build(**NETWORK).to(memory_format=layout)
    loss = losses.build("cross_entropy", dice=0.5)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        value = loss(forward(model.train(), images, settings), labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    @torch.inference_mode()
    def predict():
        forward(model.eval(), images, settings)

    return step, predict


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    size, n = NETWORK["image_size"], arguments.batch_size
    images = torch.rand(n, 1, size, size)
    labels = torch.randint(0, 9, (n, size, size), dtype=torch.uint8)
    tasks = {}
    for name, change in VARIANTS.items():
        settings = TrainingSettings(epochs=1, batch_size=n, **change)
        step, predict = prepare(images, labels, settings)
        tasks |= {("training", name): step, ("inference", name): predict}

    best = dict.fromkeys(tasks, float("inf"))
    for repeat in range(arguments.repeats + 1):
        for key, task in tasks.items():
            start = time.perf_counter()
            task()
            if repeat > 0:  # the first warms up
                best[key] = min(best[key], time.perf_counter() - start)

    capability = torch.backends.cpu.get_cpu_capability()
    print(
        f"{capability}, {arguments.threads} threads, batches of {n} x {size} x {size}"
    )
    for (kind, name), seconds in best.items():
        usual = best[kind, "float32, contiguous"]
        print(
            f"{kind:9}  {name:23}  {1e3 * seconds / n:6.1f} ms/slice"
            f"  speed x {usual / seconds:.2f}"
        )


if __name__ == "__main__":
    main()
