"""What objectives are worth for features: networks of training runs, judged on the same training images.

    python -m experiments.studies.compare_objectives runs/train/gan runs/train/contrast --out objectives

Every network is measured by `measure.quick_accuracy`, which uses no test images, and so is a random initialisation of
the first one. The folder --out gets a record of each run (RUN.json: its training.json, and which images were right),
the table networks.csv with its picture, and paired tests of every two in paired.csv. A network that has a record there
is not measured again, and every record there stays in the tables. So runs may be added as they end.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import evaluation
import gan
from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.measure.quick_accuracy import Part, accuracy, in_folds, part, random_init
from experiments.run.context import Run
from experiments.run.environment import circumstances, timed
from experiments.run.files import write_bytes
from experiments.run.reading.documents import DamagedError, read_json, write_json
from experiments.studies.program import new_parser, parse, write_table
from experiments.training.files import DISCRIMINATOR, SUMMARY
from results.figures import bar_plot

PARTS: dict[str, tuple[str, Callable[[PackedSet], Part], str]] = {
    "cifar10": ("cifar10-train", part, "% of 5,000 training images of CIFAR-10"),
    "svhn": ("svhn-train", in_folds, "% of the training digits of SVHN, in five folds"),
}
CONTROL = "random-init"
Json = dict[str, Any]


def objective(training: Mapping[str, Any]) -> str:
    """Return in words what a run's discriminator learns: "GAN on views + NT-Xent".

    training: the settings of `gan.TrainingConfig`; those that are missing have their defaults.
    """
    config = gan.TrainingConfig(**training)
    views = " on views" if config.crop < 1 or config.mirror else ""
    named = [(config.adversarial, f"GAN{views}"), (config.contrast, "NT-Xent"), (config.rotation, "rotation")]
    return " + ".join(name for weight, name in named if weight) + ("" if config.adversarial else ", no GAN")


def measured(folder: Path, on: str, images: Part, digest: str, run: Run) -> Json:
    """Measure the discriminator of a finished run; return its record.

    Raises OSError if the run has not ended, and ValueError for a network that features cannot be taken from.
    """
    summary = read_json(folder / SUMMARY)
    return {"run": folder.name, "training": summary} | _judged(_network(folder), on, images, digest, run)


def control(folder: Path, on: str, images: Part, digest: str, run: Run) -> Json:
    """Measure a random initialisation of the run's discriminator; return its record."""
    fresh = random_init(_network(folder))
    return {"run": CONTROL, "training": None} | _judged(fresh, on, images, digest, run)


def _network(folder: Path) -> gan.Discriminator:
    network = gan.load(folder / DISCRIMINATOR)
    if not isinstance(network, gan.Discriminator):
        raise ValueError(f"{folder / DISCRIMINATOR} is class-conditional: its features need labels")
    return network


def _judged(network: gan.Discriminator, on: str, images: Part, digest: str, run: Run) -> Json:
    seconds: dict[str, float] = {}
    with timed(seconds, "measure"):
        found = accuracy(network, images, device=run.device)
    outcomes = {"scored": len(found.right), "right": np.packbits(found.right).tobytes().hex()}
    return {"on": on, "images": digest, **found.numbers, **outcomes, **circumstances(run.device, seconds)}


def row(record: Json) -> Json:
    """Return the row of networks.csv."""
    if record["training"] is None:
        trained: Json = {"objective": "none"}
    else:
        training = record["training"]["recipe"]["training"]
        config = gan.TrainingConfig(**training)
        updates = sum(config.updated(step) == "discriminator" for step in range(config.steps))
        trained = {
            "objective": objective(training),
            "seed": config.seed,
            "batch_size": config.batch_size,
            "lr": config.lr,
            "discriminator_updates": updates,
        }
    found = {name: record[name] for name in ("C", "accuracy_percent", "ci95", "scored")}
    return {"run": record["run"], **trained, **found}


def _bar(record: Json) -> tuple[str, str, float, float, float]:
    percent, half = record["accuracy_percent"], record["ci95"]
    return str(row(record)["objective"]), record["run"], percent, percent - half, percent + half


def pairs(records: Sequence[Json]) -> Iterator[Json]:
    """Yield the paired test of every two records: differences in points, a minus b, and McNemar's exact p."""
    for a, b in combinations(records, 2):
        right = [_right(record) for record in (a, b)]
        difference = evaluation.paired_bootstrap(*right)
        yield {
            "run_a": a["run"],
            "run_b": b["run"],
            "difference": round(difference.estimate, 2),
            "ci95_low": round(difference.low, 2),
            "ci95_high": round(difference.high, 2),
            "p_value": evaluation.mcnemar(*right).p_value,
        }


def _right(record: Json) -> NDArray[np.bool_]:
    packed = np.frombuffer(bytes.fromhex(record["right"]), np.uint8)
    return np.unpackbits(packed, count=record["scored"]).astype(bool)


def _known(out: Path) -> dict[str, Json]:
    return {file.stem: read_json(file) for file in sorted(out.glob("*.json"))}


def _is_of(record: Json | None, folder: Path) -> bool:
    """Return whether the record is of the network that now lies in the run's folder."""
    digest = hashlib.sha256((folder / DISCRIMINATOR).read_bytes()).hexdigest()
    return record is not None and record["training"]["discriminator"] == digest


def main(argv: list[str] | None = None) -> None:
    """Measure what has no record yet; print and write the tables."""
    parser = new_parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of finished training runs")
    parser.add_argument("--on", choices=PARTS, default="cifar10", help="the set that judges (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records and the tables")
    arguments, run = parse(parser, argv, device=True)
    name, draw, label = PARTS[arguments.on]
    train = load(name, run)
    images = draw(train)
    try:
        known = _known(arguments.out)
    except DamagedError as error:
        parser.error(str(error))
    if others := [r["run"] for r in known.values() if (r["on"], r["images"]) != (arguments.on, train.digest)]:
        parser.error(f"{arguments.out} holds records on other images ({others[0]}): name another --out")
    arguments.out.mkdir(parents=True, exist_ok=True)

    def keep(record: Json) -> None:
        known[record["run"]] = record
        write_json(arguments.out / f"{record['run']}.json", record)
        print(f"{record['run']}: {record['accuracy_percent']:.2f} %", flush=True)

    try:
        if CONTROL not in known:
            keep(control(arguments.folder[0], arguments.on, images, train.digest, run))
        for folder in arguments.folder:
            if not _is_of(known.get(folder.name), folder):
                keep(measured(folder, arguments.on, images, train.digest, run))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    records = sorted(known.values(), key=lambda record: -record["accuracy_percent"])
    networks = pd.DataFrame(map(row, records)).convert_dtypes()  # whole numbers stay whole beside the control's blanks
    write_table(networks, arguments.out / "networks.csv", "%.6g")
    write_table(pd.DataFrame(pairs(records)), arguments.out / "paired.csv", "%.3g")
    write_bytes(arguments.out / "networks.svg", bar_plot([_bar(record) for record in records], label=label))
    print(networks.to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
