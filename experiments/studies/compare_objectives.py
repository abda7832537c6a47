"""What objectives are worth for features: networks of training runs, judged on the same training images.

    python -m experiments.studies.compare_objectives runs/train/gan runs/train/contrast --out objectives

Every network is measured by `measure.quick_accuracy`, which uses no test images, and so is a random initialisation of
the first one. The folder --out gets a record of each run (RUN.json: its training.json, and which images were right),
the table networks.csv with its picture, and paired tests of every two in paired.csv. A network that has a record there
is not measured again, and every record there stays in the tables. So runs may be added as they end.
"""

import dataclasses
import json
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
from experiments.run.files import file_digest, write_bytes
from experiments.run.reading.documents import read_json, write_json
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


def opened(folder: Path) -> tuple[gan.Discriminator, Json]:
    """Open a finished run: its discriminator, and what its training.json says.

    Raises OSError if the run has not ended, and ValueError if its files are damaged or do not belong together, or if
    the network is class-conditional.
    """
    file, summary = folder / DISCRIMINATOR, read_json(folder / SUMMARY)
    try:
        objective(summary["recipe"]["training"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / SUMMARY} does not describe a training run ({error!r})") from error
    if summary.get("discriminator") != file_digest(file, "sha256"):
        raise ValueError(f"{file} is not the file that its {SUMMARY} names; train again, or restore both")
    network = gan.load(file)
    if not isinstance(network, gan.Discriminator):
        raise ValueError(f"{file} is class-conditional: its features need labels")
    return network, summary


def measured(name: str, training: Json | None, network: gan.Discriminator, by: Json, images: Part, run: Run) -> Json:
    """Measure a network; return its record. training: its training.json; None for the control."""
    seconds: dict[str, float] = {}
    with timed(seconds, "measure"):
        found = accuracy(network, images, device=run.device)
    outcomes = {"scored": len(found.right), "right": np.packbits(found.right).tobytes().hex()}
    who = {"run": name, "training": training, "judged_by": by}
    return who | found.numbers | outcomes | circumstances(run.device, seconds)


def judge(on: str, digest: str, images: Part, network: gan.Discriminator) -> Json:
    """Return what records in one folder must share: the images, how they are fitted, and the architecture."""
    return {
        "on": on,
        "images": digest,
        "fitted": [len(fitted) for fitted, _ in images.folds],
        "grid": list(images.grid),
        "architecture": json.loads(json.dumps(dataclasses.asdict(network.arch))),  # lists for tuples, as in a file
    }


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


def _known(out: Path, by: Json) -> dict[str, Json]:
    """Read the records in a folder. Raises ValueError for other files, and for records that cannot be compared."""
    known = {}
    for file in sorted(out.glob("*.json")):
        record = read_json(file)
        if record.get("judged_by") != by:
            what = "of other images or another architecture" if "judged_by" in record else "no record of this study"
            raise ValueError(f"{file} is {what}: name another --out")
        known[file.stem] = record
    return known


def main(argv: list[str] | None = None) -> None:
    """Measure what has no record yet; print and write the tables."""
    parser = new_parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of finished training runs")
    parser.add_argument("--on", choices=PARTS, default="cifar10", help="the set that judges (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records and the tables")
    arguments, run = parse(parser, argv, device=True)
    names = [folder.resolve().name for folder in arguments.folder]
    if twice := [name for name in (*names, CONTROL) if [*names, CONTROL].count(name) > 1]:
        parser.error(f"two networks are called {twice[0]}: a record has the name of its run's folder")
    name, draw, label = PARTS[arguments.on]
    train = load(name, run)
    images = draw(train)
    try:
        runs = [opened(folder) for folder in arguments.folder]
        by = judge(arguments.on, train.digest, images, runs[0][0])
        if others := [n for n, (net, _) in zip(names, runs, strict=True) if net.arch != runs[0][0].arch]:
            raise ValueError(f"{others[0]} has another architecture than {names[0]}: compare it by itself")
        known = _known(arguments.out, by)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    wanted = [
        (CONTROL, None, random_init(runs[0][0])),
        *((n, said, net) for n, (net, said) in zip(names, runs, strict=True)),
    ]
    for called, training, network in wanted:
        if called not in known or known[called]["training"] != training:
            record = measured(called, training, network, by, images, run)
            known[called] = record
            write_json(arguments.out / f"{called}.json", record)
            print(f"{called}: {record['accuracy_percent']:.2f} %", flush=True)
    records = sorted(known.values(), key=lambda record: -record["accuracy_percent"])
    networks = pd.DataFrame(map(row, records)).convert_dtypes()  # whole numbers stay whole beside the control's blanks
    write_table(networks, arguments.out / "networks.csv", "%.6g")
    write_table(pd.DataFrame(pairs(records)), arguments.out / "paired.csv", "%.3g")
    write_bytes(arguments.out / "networks.svg", bar_plot([_bar(record) for record in records], label=label))
    print(networks.to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
