"""Training speed beside the loop of pytorch/examples' DCGAN, on the same networks, images and minibatch.

    python -m experiments.studies.benchmark_training --preset dcgan64 --width 32 --kernel 4 --batch-size 64

The figure is optimiser updates of each network a second. The reference updates both networks on every minibatch; this
project's schedule updates one after the other, so that a pair of its minibatches counts once. Each loop runs in its own
process as its users run it (the reference with contiguous maps and the C library's allocator as it is), the two in
turn, and the median over pairs of runs is printed. The reference gets its minibatches ready in memory, which its users'
loaders do not give it.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import gan
from experiments.run.memory import keep_freed_memory

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
        criterion(torch.sigmoid(d(fake)), ones).backward()  # the discriminator's gradients, too, as there
        g_adam.step()
        yield


def ours(arch: gan.Architecture, config: gan.TrainingConfig, images: torch.Tensor, device: str) -> Iterator[None]:
    """Yield after each update of both networks by this project's loop."""
    steps = gan.train(gan.new_state(arch, config, device), images.to(device), config)
    while True:
        next(steps)
        next(steps)
        yield


LOOPS = {"reference": reference, "ours": ours}


def rate(name: str, arch: gan.Architecture, config: gan.TrainingConfig, device: str) -> float:
    """Return the updates of each network a second."""
    if name == "ours":
        keep_freed_memory()
    noise = torch.Generator().manual_seed(0)
    shape = (4 * config.batch_size, arch.size, arch.size, arch.channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=noise)
    updates = LOOPS[name](arch, config, images, device)

    for _ in range(WARM):
        next(updates)
    _wait(device)
    started, done = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        next(updates)
        _wait(device)
        done += 1
    return done / (time.monotonic() - started)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main(argv: list[str] | None = None) -> int:
    """Print the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=gan.PRESETS, default="imagenet32")
    parser.add_argument("--width", type=int)
    parser.add_argument("--kernel", type=int)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32", help="of this project's loop; the reference stays float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--loop", choices=LOOPS, help="run only this one and print its rate as JSON")
    arguments = parser.parse_args(argv)
    changes: dict[str, Any] = {k: v for k in ("width", "kernel") if (v := getattr(arguments, k)) is not None}
    arch = dataclasses.replace(gan.PRESETS[arguments.preset], **changes)
    config = gan.TrainingConfig(
        images=10**9, decay_from=10**9, batch_size=arguments.batch_size, precision=arguments.precision
    )
    if arguments.loop:
        print(json.dumps(rate(arguments.loop, arch, config, arguments.device)))
        return 0
    given = sys.argv[1:] if argv is None else argv

    def measured(loop: str) -> float:
        command = [sys.executable, "-m", "experiments.studies.benchmark_training", *given, "--loop", loop]
        return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))

    pairs = [(measured("reference"), measured("ours")) for _ in range(arguments.repeats)]
    theirs, own = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    ratio = statistics.median(b / a for a, b in pairs)
    print(
        f"{arguments.preset} {changes or ''} batch {arguments.batch_size} on {arguments.device}: {own:.2f} updates of "
        f"each network/s, pytorch/examples' loop {theirs:.2f}, ratio {ratio:.2f} "
        f"({min(b / a for a, b in pairs):.2f} to {max(b / a for a, b in pairs):.2f}, {len(pairs)} pairs)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
