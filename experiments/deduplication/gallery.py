"""Pictures of what a pass found: a page on which a person judges the groups by eye, and one image of some groups."""

import numpy as np

from experiments.deduplication.image_source import Source
from experiments.deduplication.outcome import Group, Outcome
from experiments.run import html
from experiments.run.filenames import shown
from experiments.run.progress import Progress, silent
from results import figures

SHOWN = 500  # groups on the page
SHOWN_OF_GROUP = 8  # images of each group
PICTURED = 32  # groups in the picture


def page(outcome: Outcome, progress: Progress = silent) -> str:
    """Return the self-contained HTML page of the SHOWN groups that are farthest apart, the farthest first."""
    groups = outcome.groups[:SHOWN]
    drawn = progress(groups, total=len(groups), desc="drawing the gallery", unit="group")
    source, against = outcome.source.name, outcome.summary["against"]
    return html.page(
        "gallery.html",
        title=f"{source} in {against['name']}" if against else f"Near-duplicates in {source}",
        groups=[_entry(group, outcome) for group in drawn],
        run={  # the browser stores the judgments of each pass under its digest, and exports all of these values
            "digest": outcome.summary["digest"],
            "set": source,
            "against": against and against["name"],
            "method": str(outcome.spec),
            "groups": len(outcome.groups),
        },
    )


def picture(outcome: Outcome) -> bytes | None:
    """Return a PNG of PICTURED groups from the farthest apart to the nearest, each image next to the farthest from it.

    None if there are no groups, for photographs, and if the images of the two sets have different shapes.
    """
    groups, source, other = outcome.groups, outcome.source.packed, outcome.other.packed
    if not groups or source is None or other is None or source.images.shape[1:] != other.images.shape[1:]:
        return None
    chosen = [groups[i] for i in np.linspace(0, len(groups) - 1, min(PICTURED, len(groups))).round().astype(int)]
    first, second = [group.label for group in chosen], [group.others[0] for group in chosen]
    return figures.pairs(source.images[first], other.images[second], columns=8)


def _entry(group: Group, outcome: Outcome) -> dict[str, object]:
    """Return what the page shows of a group."""
    source, other = outcome.source, outcome.other
    kept, removed = ("kept", "removed") if source is other else (f"of {source.name}", f"of {other.name}")
    digits = 0 if outcome.found.unit == "bits" else 1
    distances = [f"{distance:.{digits}f} {outcome.found.unit}" for distance in group.distances[: SHOWN_OF_GROUP - 1]]
    captions = [", ".join(filter(None, words)) for words in zip(distances, group.turns, strict=False)]
    shown = zip(group.others.tolist(), captions, strict=False)
    pictures = [_picture(source, group.label, kept), *(_picture(other, i, removed, distance) for i, distance in shown)]
    images = len(group.others) + 1
    return {
        "label": group.label,
        "farthest": distances[0],
        "images": images,
        "unseen": images - len(pictures),
        "pictures": pictures,
    }


def _picture(source: Source, index: int, role: str, distance: str = "") -> dict[str, str]:
    image = source.picture(index)
    name = str(index) if source.names is None else shown(source.names[index])
    return {"url": "" if image is None else html.data_url(image), "name": name, "role": role, "distance": distance}
