"""The name that a PUE may have, and the window it may be of (``definitions.md``, PUE)."""

from typing import Final, Literal

YEAR_SECONDS: Final = 365 * 86400
STEPS_PER_WINDOW: Final = 4

Category = Literal[1, 2, 3]


def pue_label(window_seconds: float, category: Category | None, *, it_metered: bool) -> str:
    """Return the name a PUE may have: only a trailing year is called PUE, the rest is interim."""
    word = "PUE" if window_seconds >= YEAR_SECONDS else "iPUE"
    if not it_metered:
        return f"{word}, IT energy from nodes: upper bound"
    return f"{word}, category {category}"


def too_short(window_seconds: float, slowest_step_seconds: float) -> str | None:
    """Return why a window is too short for the steps of its slowest meter, or None."""
    smallest = STEPS_PER_WINDOW * slowest_step_seconds
    if window_seconds >= smallest:
        return None
    return f"a window of {window_seconds:g} s: the slowest meter needs {smallest:g} s"
