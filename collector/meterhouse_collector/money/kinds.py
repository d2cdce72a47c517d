"""The kinds of cost, and by what each is split over the states of devices (``definitions.md``)."""

from typing import Final

SECONDS_KINDS: Final = ("capital", "rent", "operations")
JOULES_KINDS: Final = ("energy", "demand", "water", "carbon")
KINDS: Final = ("capital", "rent", "energy", "demand", "operations", "water", "carbon")
