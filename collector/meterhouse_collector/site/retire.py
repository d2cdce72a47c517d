"""Devices taken out of nodes that no asset register lists."""

from datetime import date
from typing import Annotated

from pydantic import Field

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import Name
from meterhouse_collector.site.places import MAX_DEVICES


class Retire(Section):
    """The first day on which a node is without so many of its devices, or without any.

    It is for a site without an asset register, where nothing else lowers what was once seen.
    """

    node: Name
    devices: Annotated[int, Field(ge=1, le=MAX_DEVICES)] | None = None
    on: date
