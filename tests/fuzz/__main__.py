"""``python -m tests.fuzz``: made-up bytes for what reads bytes, guided by which lines they reach.

Each target runs in a process of its own, by atheris. The last line of each says how many inputs
were tried and how many broke it; one that did is kept in a file, whose name is printed.
"""

import argparse
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).with_name("corpus")
NAMES: Final = tuple(sorted(folder.name for folder in CORPUS.iterdir()))
# Breaks at once: to see what is said then.
BROKEN: Final = "broken"
_INSTRUMENTED: Final = ("meterhouse_agent", "meterhouse_collector", "pymodbus", "prometheus_client")
_DONE: Final = re.compile(r"^Done (\d+) runs", re.MULTILINE)
_NUMBER: Final = re.compile(r"^#(\d+)\s", re.MULTILINE)
_INPUT_SECONDS: Final = 10
_MEMORY_MEGABYTES: Final = 2048
_LONGEST_INPUT_BYTES: Final = 2048
_SHOWN_LINES: Final = 60


def _run(name: str, runs: int, seed: int) -> bool:
    """Run one target; print what came of it, and tell whether nothing broke."""
    folder = Path(tempfile.mkdtemp(prefix=f"meterhouse-fuzz-{name}-"))
    if name == BROKEN:
        (folder / "corpus").mkdir()
    else:
        shutil.copytree(CORPUS / name, folder / "corpus")
    command = [sys.executable, "-m", "tests.fuzz", "--only", name, "--runs", str(runs)]
    begun = time.monotonic()
    log = folder / "log"
    with log.open("wb") as out:
        child = subprocess.run(
            [*command, "--seed", str(seed), "--folder", str(folder)],
            stdout=out,
            stderr=out,
            check=False,
        )
    seconds = time.monotonic() - begun
    said = log.read_text(errors="replace")
    done = _DONE.search(said)
    tried = int(done[1]) if done else max(map(int, _NUMBER.findall(said)), default=0)
    broken = child.returncode != 0
    if broken:
        print("\n".join(said.splitlines()[-_SHOWN_LINES:]))
        print(f"the input is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    figures = f"executions={tried} crashes={int(broken)} seed={seed} seconds={seconds:.0f}"
    print(f"fuzz target={name} {figures}", flush=True)
    return not broken


def _fuzz(name: str, runs: int, seed: int, folder: Path) -> None:
    """Fuzz one target in this process; does not return."""
    import atheris  # noqa: PLC0415 - for this processor only, and not for who reads the help

    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented as it is loaded
    flags = {
        "runs": runs,
        # libFuzzer takes 0 for any.
        "seed": seed,
        "timeout": _INPUT_SECONDS,
        "rss_limit_mb": _MEMORY_MEGABYTES,
        "max_len": _LONGEST_INPUT_BYTES,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 0,
    }
    arguments = [f"-{flag}={value}" for flag, value in flags.items()]
    target = _break if name == BROKEN else TARGETS[name]()
    atheris.Setup([sys.argv[0], *arguments, str(folder / "corpus")], target)
    atheris.Fuzz()


def _break(_: bytes) -> None:
    raise AssertionError("broken on purpose")


def main() -> int:
    """Run one target or all; return 1 if any broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", choices=(*NAMES, BROKEN), help="one, else all but broken")
    parser.add_argument("--runs", type=int, default=100_000, help="how many inputs for each")
    parser.add_argument("--seed", type=int, default=1, help="which inputs, from 1")
    parser.add_argument("--only", choices=(*NAMES, BROKEN), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.runs < 1 or given.seed < 1:
        parser.error("--runs and --seed begin at 1")
    if given.only is not None:
        _fuzz(given.only, given.runs, given.seed, given.folder)
    names = NAMES if given.target is None else (given.target,)
    good = [_run(name, given.runs, given.seed) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
