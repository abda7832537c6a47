"""Train the copy descriptor that comes with the project, or measure how far the pass agrees with human labels.

    python -m experiments.studies.copy_descriptor fit --out dedup/copies.safetensors
    python -m experiments.studies.copy_descriptor measure --out results/dedup/cifair.csv

Human labels: ciFAIR (Barz & Denzler, JIMG 2020) lists pairs of CIFAR-10 test and training images that people judged to
be duplicates, among the nearest by a network's features. DATA_ROOT/cifair holds the test images that were judged and
the listed pairs. A duplicate that the network did not find is not in the list, and counts here as falsely flagged.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

import dedup
from experiments.data.load import load
from experiments.run.errors import UserError
from experiments.studies.planted_copies import METHODS, Method
from experiments.studies.program import new_parser, parse, write_table

TRAINED_ON = ("tiny-imagenet-64", "cifar10-train")  # without labels, and without test images


def labelled(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (test images that were judged, those listed as duplicates), int64. Raises UserError without the lists."""
    try:
        images = pd.read_csv(folder / "test_index_dev.csv")["TestID"].to_numpy(np.int64)
        pairs = pd.read_csv(folder / "duplicates_cifar10_dev.csv")["TestID"].to_numpy(np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"no human labels in {folder} ({error}): set DATA_ROOT to the folder of cifair/") from error
    return images, np.unique(pairs)


def measure(
    train: np.ndarray, test: np.ndarray, judged: np.ndarray, listed: np.ndarray, methods: Mapping[str, Method]
) -> Iterator[dict[str, str | float]]:
    """Yield a row for each method: how the test images that it flags compare with those that people listed.

    train, test: uint8 [N, H, W, C]. judged: int64 [n], the test images that count. listed: int64, those of them listed.
    """
    for name, method in methods.items():
        flagged = judged[np.unique(method(test[judged], train)[:, 0])]
        found = len(np.intersect1d(flagged, listed))
        yield {
            "method": name,
            "judged": len(judged),
            "listed": len(listed),
            "flagged": len(flagged),
            "found": found,
            "precision": found / max(1, len(flagged)),
            "recall": found / len(listed),
            "f1": 2 * found / (len(flagged) + len(listed)),
        }


def main(argv: list[str] | None = None) -> None:
    """Train the descriptor, or print the table of precision and recall."""
    parser = new_parser(__doc__)
    parser.add_argument("task", choices=["fit", "measure"])
    steps = dedup.DescriptorConfig.steps
    parser.add_argument("--steps", type=int, default=steps, help="for fit: minibatches (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file to write (fit: copies.safetensors by default)")
    arguments, run = parse(parser, argv)

    if arguments.task == "measure":
        judged, listed = labelled(run.data_root / "cifair")
        train, test = (load(name, run).images for name in ("cifar10-train", "cifar10-test"))
        table = pd.DataFrame(measure(train, test, judged, listed, METHODS)).round(3)
        print(table.to_string(index=False))
        write_table(table, arguments.out)
        return

    def progress(step: int, loss: float, found: float) -> None:
        if step % 50 == 0:
            run.say(f"step {step}: loss {loss:.3f}, {100 * found:.1f} % of copies found in the minibatch")

    config = dedup.DescriptorConfig(steps=arguments.steps)
    made = dedup.CopyDescriptor.fit([load(name, run).images for name in TRAINED_ON], config, progress=progress)
    made.save(arguments.out or Path("copies.safetensors"))
    print(made.digest)


if __name__ == "__main__":
    main()
