"""The command ``meterhouse-collector``."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from meterhouse_collector import __version__, config, site_model
from meterhouse_collector.app import Collector
from meterhouse_collector.check import check

_FAILED: Final = 1
_USAGE_ERROR: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for a failure, 2 for a wrong config."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    try:
        return int(options.do(options))
    except (config.ConfigError, site_model.SiteModelError) as error:
        print("\n".join(error.faults), file=sys.stderr)
        return _USAGE_ERROR
    except OSError as error:
        print(error, file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meterhouse-collector",
        description="Collect what agents measure; compute PUE, idle capacity and cost per token.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error")
    )
    with_config = argparse.ArgumentParser(add_help=False)
    with_config.add_argument("-c", "--config", type=Path, required=True, metavar="FILE")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", parents=[common, with_config], help="collect until stopped")
    run.set_defaults(do=_run)
    checked = commands.add_parser(
        "check",
        parents=[common, with_config],
        help="try what the config names",
    )
    checked.set_defaults(do=_check)
    samples = commands.add_parser(
        "sample-config", parents=[common], help="print a config file to start from"
    )
    samples.add_argument("--site", action="store_true", help="print a site model instead")
    samples.set_defaults(do=_sample)
    return parser


def _sample(options: argparse.Namespace) -> int:
    print(site_model.sample() if options.site else config.sample(), end="")
    return 0


def _run(options: argparse.Namespace) -> int:
    collector = Collector(config.load_config(options.config))
    run_until_stopped(collector.run())
    return 0


def _check(options: argparse.Namespace) -> int:
    lines, good = asyncio.run(check(config.load_config(options.config)))
    print("\n".join(lines))
    return 0 if good else _FAILED


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until the work ends, or a signal asks it to."""

    async def supervised() -> None:
        task = asyncio.create_task(work, name="collector")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return

    uvloop.run(supervised())


if __name__ == "__main__":
    sys.exit(main())
