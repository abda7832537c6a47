"""Run a de-duplication pass for a person: check it, run it, write its folder, and report it in a few lines."""

import hashlib
import os
from pathlib import Path
from typing import Any

import dedup
import results
from experiments.data.leakage import audit, write_audit
from experiments.data.names import is_name
from experiments.deduplication.image_source import check, check_apart, is_set, open_source, plain_name
from experiments.deduplication.methods import SEMANTIC, find
from experiments.deduplication.outcome import Outcome
from experiments.deduplication.output import SKIPPED, check_folder, write_folder
from experiments.deduplication.spec import DedupSpec
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.filenames import shown
from experiments.run.files import check_writable

LONGEST = 100  # bytes of a source's name in the name of the default folder: systems take 255 in all


def default_folder(name: str, against: str | None, run: Run) -> Path:
    """Return RUNS_ROOT/dedup/NAME or NAME-against-NAME, where the pass writes unless it is told otherwise.

    NAME is a set's name or, for a folder or zip, the last part of its path and 8 hex digits of the SHA-256 of its full
    path, so that two folders of one name do not share a place.
    """
    sources = [name] if against is None else [name, against]
    return run.runs_root / "dedup" / "-against-".join(_folder_name(source, run) for source in sources)


def _folder_name(source: str, run: Run) -> str:
    if is_set(source, run):
        return source
    digest = hashlib.sha256(os.fsencode(Path(source).resolve())).hexdigest()
    shortened = os.fsencode(plain_name(source))[:LONGEST].decode("utf-8", "ignore")
    return f"{shortened}-{digest[:8]}"


def check_pass(name: str, spec: DedupSpec, run: Run, *, against: str | None = None, record: bool = False) -> None:
    """Raise UserError, before any work, if `deduplicate` cannot do this pass."""
    check(name, run)
    if against is not None:
        check(against, run)
        check_apart(name, against)
    if record:
        known = against is not None and is_name(name) and is_name(against)  # a reader of the audit can get both
        if not (known and _is_audit(name, spec, run, against)):
            raise UserError("an audit (--record) needs --against, two named sets and the method near-duplicates")


def deduplicate(
    name: str,
    out: Path,
    spec: DedupSpec,
    run: Run,
    *,
    against: str | None = None,
    record: bool = False,
    semantic: dedup.SemanticConfig = SEMANTIC,
) -> dict[str, Any]:
    """Run the pass within the set, folder or zip `name`, or find its images that occur in `against`.

    Writes the folder `out`, see `output.write_folder`. The calibrated pass ("near-duplicates") between two sets is also
    a leakage audit, written to RUNS_ROOT/leakage and, with `record`, to the committed audits. Returns the summary.

    Raises UserError if a source cannot be read or a folder cannot be written.
    """
    check_pass(name, spec, run, against=against, record=record)
    committed, own = run.audits
    audits = [] if not _is_audit(name, spec, run, against) else [own, committed] if record else [own]
    check_folder(out)
    check_writable(out, *audits)

    source = open_source(name, spec, run)
    other = None if against is None else open_source(against, spec, run, apart_from=name)
    theirs = None if other is None else other.compared
    found = find(spec, source.compared, theirs, progress=run.progress, semantic=semantic)
    outcome = Outcome(spec, source, other, found)
    write_folder(out, outcome, run.progress)

    for folder in audits:
        assert source.packed is not None and other is not None and other.packed is not None
        made = audit(source.packed, other.packed, found.pairs, dict(results.versions()))
        run.say(f"audit written to {write_audit(folder, made)}")
    _tell(outcome, out, run)
    return outcome.summary


def _is_audit(name: str, spec: DedupSpec, run: Run, against: str | None) -> bool:
    """Whether this pass is a leakage audit."""
    return spec.method == "near-duplicates" and against is not None and is_set(name, run) and is_set(against, run)


def _tell(outcome: Outcome, out: Path, run: Run) -> None:
    """Name some of the files that were skipped."""
    skipped = [shown(f"{name} ({reason})") for source in outcome.sources for name, reason in source.skipped]
    if skipped:
        files = console.counted(len(skipped), "file")
        run.say(f"skipped {files}, listed in {out / SKIPPED}: {console.first_few(skipped)}")
