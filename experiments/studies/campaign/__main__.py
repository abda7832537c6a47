"""Train and measure on a GPU what takes days on CPUs, in order of worth. Start it again to go on.

    python -m experiments.studies.campaign --minutes 60

Every step is one command of dcgan-eval or more, in processes of their own: a network is trained, then measured. The
commands know what they have done: training goes on from its checkpoint, and a row that was measured is not measured
again. After --minutes, the command that runs is interrupted, writes its checkpoint, and ends. A step that fails is
named at the end, and the others follow.

Trained networks lie in RUNS_ROOT/train, records in RUNS_ROOT/records. RUNS_ROOT/weights gets of each network what
results/weights holds: the file rounded to float16, and training.json with its digest. The rows are those of the rounded
files. --dry-run lists the steps with their commands and minutes. The minutes are expected on an H100: those of
imagenet32 follow from measured rates, the others from them and the networks' multiply-adds.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from experiments.run import console, signals
from experiments.run.context import Run
from experiments.studies.campaign.rounded import round_network
from experiments.studies.campaign.steps import STEPS, Step
from experiments.studies.program import new_parser, parse

GRACE = 60  # seconds in which an interrupted command writes its checkpoint


def main(argv: list[str] | None = None) -> int:
    """Run the steps; exit with 1 if one failed, with 130 if time or a signal ended them."""
    parser = new_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="time that may be used (default: no limit)")
    parser.add_argument("--only", metavar="STEP", action="append", help="a step by its name (repeatable; default: all)")
    parser.add_argument("--dry-run", action="store_true", help="list the steps and stop")
    arguments, run = parse(parser, argv, device=True)
    unknown = set(arguments.only or ()) - {step.name for step in STEPS}
    if unknown:
        parser.error(f"no step {', '.join(sorted(unknown))}; choose from {', '.join(step.name for step in STEPS)}")
    steps = [step for step in STEPS if arguments.only is None or step.name in arguments.only]
    if arguments.dry_run:
        for step in steps:
            print(f"{step.name}: {step.minutes:g} minutes, {step.why}")
            for command in step.commands(run.runs_root):
                print(f"    dcgan-eval {' '.join(command)}")
        return 0
    with signals.interruptible():
        code, failed = _run_all(steps, run, time.monotonic() + 60 * arguments.minutes)
    if failed:
        console.say(f"failed, see above: {', '.join(failed)}")
    return code or int(bool(failed))


def _run_all(steps: Sequence[Step], run: Run, until: float) -> tuple[int, list[str]]:
    """Run the steps; return 130 if they were interrupted, else 0, and the names of those that failed."""
    failed: list[str] = []
    for step in steps:
        console.say(f"{step.name}: {step.why}; about {step.minutes:g} minutes")
        code = _run(step, run, until)
        if code == signals.EXIT_CODE:
            console.say("stopped; start the same command again to go on")
            return code, failed
        failed += [step.name] if code else []
    return 0, failed


def _run(step: Step, run: Run, until: float) -> int:
    """Run the commands of a step; return the exit code of the first that does not end well, else 0."""
    for command in step.commands(run.runs_root):
        code = _command(command, run, until)
        if code:
            return code
        if command[0] == "train" and step.rounds:
            round_network(step.folder(run.runs_root), step.rounded(run.runs_root), step.rounds)
    return 0


def _command(command: Sequence[str], run: Run, until: float) -> int:
    """Run a command of dcgan-eval; interrupt it when the time is up, or when this program is interrupted."""
    roots = ["--data-root", str(run.data_root), "--runs-root", str(run.runs_root), "--device", str(run.device)]
    left = until - time.monotonic()
    if left <= 0:
        return signals.EXIT_CODE
    process = subprocess.Popen([sys.executable, "-m", "experiments", *command, *roots], start_new_session=True)
    try:
        return process.wait(None if left == float("inf") else left)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return signals.EXIT_CODE


if __name__ == "__main__":
    sys.exit(main())
