"""``python -m tests.chaos``: one run; the last line says what was lost, double or wrong."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import run
from tests.chaos.schedule import parse, plan


def main() -> int:
    """Run a schedule drawn from a seed, or one that was printed; return 1 if anything is amiss."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long faults begin")
    parser.add_argument("--seed", type=int, default=1, help="which faults")
    parser.add_argument("--replay", type=Path, help="a file with what an earlier run printed")
    given = parser.parse_args()
    if given.replay is None:
        schedule = plan(given.seed, given.seconds)
    else:
        schedule = parse(given.replay.read_text())
    print(schedule.text(), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="meterhouse-chaos-"))
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s: {text}", flush=True)

    verdict = run(schedule, folder, say)
    print(verdict.text())
    if verdict.good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs and rows are in {folder}")
    print(verdict.line(schedule.seed))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
