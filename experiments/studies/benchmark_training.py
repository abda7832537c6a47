"""Training speed compared with the loop of pytorch/examples' DCGAN, on the same networks, images and minibatch.

    python -m experiments.studies.benchmark_training --preset dcgan64 --width 32 --kernel 4 --batch-size 64

The figure is optimiser updates of each network per second. The reference updates both networks on every minibatch. This
project's schedule updates them in turn, so two of its minibatches count as one update of each. Each loop runs in a
process of its own, as its users run it: the reference has contiguous maps and the C library's unchanged allocator. The
loops take turns, and the median over pairs of runs is printed. The reference finds its minibatches ready in memory, an
advantage that its users' loaders do not give it.
"""

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from torch import nn

import gan
from experiments.run.memory import keep_freed_memory
from experiments.studies.program import new_parser

WARM, SECONDS = 3, 8.0  # updates of each network before the clock starts, and how long it then runs


def reference(arch: gan.Architecture, config: gan.TrainingConfig, images: torch.Tensor, device: str) -> Iterator[None]:
    """Yield after each update of both networks by pytorch/examples/dcgan: on real, on fake, then the generator."""
    g, d = gan.Generator(arch).to(device), gan.Discriminator(arch).to(device)
    g_adam, d_adam = (torch.optim.Adam(n.parameters(), lr=config.lr, betas=(config.beta1, 0.999)) for n in (g, d))
    criterion, n = nn.BCELoss(), config.batch_size
    real = images[:n].permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous().to(device)
    ones, zeros = torch.ones(n, device=device), torch.zeros(n, device=device)
    while True:
        d.zero_grad()
        criterion(torch.sigmoid(d(real)), ones).backward()
        fake = g(torch.randn(n, arch.nz, device=device))
        criterion(torch.sigmoid(d(fake.detach())), zeros).backward()
        d_adam.step()
        g.zero_grad()
        criterion(torch.sigmoid(d(fake)), ones).backward()  # this also computes the discriminator's gradients, as there
        g_adam.step()
        yield


def ours(arch: gan.Architecture, config: gan.TrainingConfig, images: torch.Tensor, device: str) -> Iterator[None]:
    """Yield after each update of both networks by this project's loop."""
    keep_freed_memory()
    steps = gan.train(gan.new_state(arch, config, device), images.to(device), config)
    for _ in zip(steps, steps, strict=True):
        yield


LOOPS = {"reference": reference, "ours": ours}


def rate(name: str, arch: gan.Architecture, config: gan.TrainingConfig, device: str) -> float:
    """Return the updates of each network per second."""
    shape = (4 * config.batch_size, arch.size, arch.size, arch.channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    updates = LOOPS[name](arch, config, images, device)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    for _ in range(WARM):
        next(updates)
    wait()
    started, done = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        next(updates)
        wait()
        done += 1
    return done / (time.monotonic() - started)


def main(argv: list[str] | None = None) -> None:
    """Print the rates and their ratio."""
    parser = new_parser(__doc__)
    parser.add_argument("--preset", choices=gan.PRESETS, default="imagenet32")
    parser.add_argument("--width", type=int)
    parser.add_argument("--kernel", type=int)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32", help="for this project's loop; the reference uses float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--loop", choices=LOOPS, help="run only this one and print its rate")
    arguments = parser.parse_args(argv)
    changes = {k: v for k in ("width", "kernel") if (v := getattr(arguments, k)) is not None}
    arch = dataclasses.replace(gan.PRESETS[arguments.preset], **changes)
    images, batch, device = 10**9, arguments.batch_size, arguments.device
    config = gan.TrainingConfig(images, decay_from=images, batch_size=batch, precision=arguments.precision)
    measured = partial(rate, arch=arch, config=config, device=device)
    if arguments.loop:
        print(measured(arguments.loop))
        return
    # a process for each run, so that no run finds what another left in memory
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        theirs, own = np.reshape(list(processes.map(measured, ["reference", "ours"] * arguments.repeats)), (-1, 2)).T
    ratios = own / theirs
    print(
        f"{arguments.preset} {changes or ''} batch {batch} on {device}: {np.median(own):.2f} updates of each "
        f"network/s, pytorch/examples' loop {np.median(theirs):.2f}, ratio {np.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} pairs)"
    )


if __name__ == "__main__":
    main()
