"""Writes ``licences.md``: every package of the lock file, who needs it, and its licence."""

# ruff: noqa: INP001 - it needs the folder above, so it runs as a module and is no script

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs.reference_parts.markdown import table
from docs.written import write_or_check

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "licences.md"
_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_LONGEST: Final = 60
_OF_A_KIND: Final = "License :: OSI Approved :: "
# In this order: a package is listed under the first that needs it.
_GROUPS: Final = (
    ("agent", ""),
    ("agent with `modbus`", "modbus"),
    ("agent with `engine`", "engine"),
    ("collector", "collector"),
    ("tests and tools", "dev"),
)


def page() -> str:
    """Return the text of the page."""
    pinned = {
        canonicalize_name(name): version
        for name, version in _PINNED.findall((ROOT / "requirements.lock").read_text("utf-8"))
    }
    users = _users()
    order = [name for name, _ in _GROUPS]
    rows = sorted(
        (order.index(users.get(name, order[-1])), name, version) for name, version in pinned.items()
    )
    return "\n".join(
        (
            "# Licences",
            "",
            "Every package of `requirements.lock`, who needs it, and the licence that it states.",
            "Written by `python -m docs.licences` from the packages' own metadata.",
            "A test fails when it is out of date.",
            "",
            table(
                ("package", "version", "needed by", "licence"),
                ((name, version, order[rank], licence(name)) for rank, name, version in rows),
            ),
        )
    )


def _users() -> dict[str, str]:
    """Return who needs each package, the first group first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    users: dict[str, str] = {}
    for group, extra in _GROUPS:
        direct = optional[extra] if extra else project["dependencies"]
        for name in _needed(map(Requirement, direct), frozenset(), set()):
            users.setdefault(name, group)
    return users


def _needed(
    requirements: Iterable[Requirement], extras: frozenset[str], seen: set[str]
) -> Iterator[str]:
    """Yield what is needed, with all that it needs; ``extras`` are those of who asks for it."""
    for each in requirements:
        name = canonicalize_name(each.name)
        key = f"{name}{sorted(each.extras)}"
        if key not in seen and any(_applies(each, extra) for extra in ("", *extras)):
            seen.add(key)
            yield name
            further = map(Requirement, _requires(name))
            yield from _needed(further, frozenset(each.extras), seen)


def _requires(name: str) -> Sequence[str]:
    try:
        # Of our own, what is needed is read from pyproject.toml.
        return [] if name == "meterhouse" else distribution(name).requires or []
    except PackageNotFoundError:
        return []


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def licence(name: str) -> str:
    """Return the licence that a package states."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return "not installed on Linux"
    expressions = metadata.get_all("License-Expression") or []
    texts = [text for text in metadata.get_all("License") or [] if len(text) <= _LONGEST]
    classifiers = metadata.get_all("Classifier") or []
    kinds = [each.removeprefix(_OF_A_KIND) for each in classifiers if each.startswith(_OF_A_KIND)]
    return ", ".join(expressions or texts or kinds) or _titled(name) or "not stated"


def _titled(name: str) -> str:
    """Return the first line of the licence that lies in the package, empty where none does."""
    text = distribution(name).read_text("licenses/LICENSE") or ""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page))
