"""The report's plots: accuracy along training, errors by the number of references, losses; each with its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from experiments.measure.quick_accuracy import FITTED, SCORED
from experiments.report.files import Sheet, read_json, read_sheet, reading
from experiments.report.words import settings_text
from results.figures import Line, line_plot


@dataclass(frozen=True)
class Plot:
    """A drawing, the sentences below it, and its numbers."""

    svg: Markup
    caption: str
    sheet: Sheet


def read_curves(results: Path) -> Iterator[Plot]:
    """Yield a plot for each CSV file in curves/, then the plot of tables/mnist-curve.csv."""
    for file in sorted((results / "curves").glob("*.csv")):
        words = _settings(file)
        name = file.stem.replace("trials-width-", "trials at width ")
        yield from _plot(
            file,
            f"{name}: accuracy on CIFAR-10 along training. An L2-SVM is fitted to the features of {FITTED:,} training "
            f"images and scored on {SCORED:,} others. Error bars: 95 % intervals over the scored images.",
            "run",
            ("images_seen", "accuracy_percent", "ci95"),
            words=words,
        )
    yield from _plot(
        results / "tables" / "mnist-curve.csv",
        "Error on the 10,000 test digits of MNIST by the number of references, on a logarithmic axis. A test digit "
        "gets the label of its nearest reference, a training digit or a sample of a generator. One run each, no error "
        "bars.",
        "method",
        ("references", "error_percent"),
        log_x=True,
    )


def plot_losses(name: str, epochs: Sheet) -> Plot:
    """Plot the losses of a training run from the rows of its epochs.csv."""
    caption = f"Losses of {name}. Each point is the mean since the point before."
    seen = [float(row["images_seen"]) for row in epochs.rows]
    lines = [
        Line(network, seen, [float(row[f"loss_{network}"]) for row in epochs.rows])
        for network in ("generator", "discriminator")
    ]
    return Plot(line_plot(lines, title=caption, x_label="images seen", y_label="loss"), caption, epochs)


def _settings(file: Path) -> dict[str, str]:
    """Return run -> its settings in words, for the runs whose training.json lies beside a file of curves."""
    found = {}
    for beside in sorted(file.parent.glob(f"{file.stem}-*.json")):
        made = read_json(beside)
        with reading(beside):
            found[beside.stem.removeprefix(f"{file.stem}-")] = settings_text(made["recipe"])
    return found


def _plot(
    file: Path,
    caption: str,
    name: str,
    values: Sequence[str],
    *,
    words: Mapping[str, str] | None = None,
    log_x: bool = False,
) -> Iterator[Plot]:
    """Yield the plot of a CSV file; nothing if there is no file.

    name: the column that says to which line of the plot a row belongs. values: the columns of x, y and, if there are
    any, error bars. words: what is shown in place of a name.
    """
    if found := read_sheet(file, "Numbers"):
        with reading(file):
            sheet = Sheet(found.title, [{**row, name: (words or {}).get(row[name], row[name])} for row in found.rows])
            names = dict.fromkeys(row[name] for row in sheet.rows)
            rows_of = {text: [row for row in sheet.rows if row[name] == text] for text in names}
            lines = [Line(text, *([float(row[v]) for row in rows] for v in values)) for text, rows in rows_of.items()]
            x, y = values[0].replace("_", " "), values[1].replace("_percent", " %")
            yield Plot(line_plot(lines, title=caption, x_label=x, y_label=y, log_x=log_x), caption, sheet)
