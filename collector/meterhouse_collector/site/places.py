"""What is installed, where it stands and who holds it: register, engines, pools, tenants."""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from meterhouse_agent import wire
from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import Duration, Lasting, Name, Share, Text, Watts

MAX_DEVICES: Final = wire.MAX_DEVICES


class Cluster(Lasting):
    """A set of pools behind one fabric; ``powerable_watts`` says by hand what the power tree says.

    It is the IT power that can be powered and cooled at N (``definitions.md``).
    """

    name: Name
    powerable_watts: Watts | None = None


class Tenant(Lasting):
    """Who rents pools."""

    name: Name


class Pool(Lasting):
    """Devices that serve one purpose; ``tenant`` is ``none`` where nobody rents it.

    What a ``spare`` or ``shared`` pool costs is spread over the others in loaded costs.
    """

    name: Name
    cluster: Name
    tenant: Name = "none"
    kind: Literal["own", "spare", "shared"] = "own"
    reserve_devices: Annotated[int, Field(ge=0)] = 0
    idle_after: Duration = Field("5m", validate_default=True)


class Asset(Section):
    """An entry of the asset register: the same devices on one node, or on each of several.

    ``purchased`` picks the price among the dated ones of the hardware; it is ``in_service`` if not
    given. Devices that a ``contract`` rents have no capital cost.
    """

    node: Name | None = None
    nodes: tuple[Name, ...] = ()
    pool: Name
    accelerator_model: Text
    devices: Annotated[int, Field(ge=1, le=MAX_DEVICES)] | tuple[Text, ...]
    purchased: date | None = None
    delivered: date | None = None
    in_service: date
    retired: date | None = None
    contract: Name | None = None
    rack: Name | None = None
    fabric_group: Name | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Asset":
        if (self.node is None) == (not self.nodes):
            raise ValueError("either node or nodes")
        if len(set(self.nodes)) < len(self.nodes):
            raise ValueError("each node once in nodes")
        if isinstance(self.devices, tuple):
            if not 1 <= len(self.devices) <= MAX_DEVICES:
                raise ValueError(f"1 to {MAX_DEVICES} names in devices")
            if len(set(self.devices)) < len(self.devices):
                raise ValueError("each name once in devices")
        if self.retired is not None and self.retired <= self.in_service:
            raise ValueError(f"a retired date after in_service, {self.in_service}")
        if self.delivered is not None and self.delivered > self.in_service:
            raise ValueError(f"a delivered date not after in_service, {self.in_service}")
        return self

    @property
    def on_nodes(self) -> tuple[str, ...]:
        """The nodes that hold these devices."""
        return self.nodes if self.node is None else (self.node,)

    @property
    def devices_per_node(self) -> int:
        """How many devices each of the nodes holds."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def all_devices(self) -> int:
        """How many devices this entry registers, on all of its nodes."""
        return self.devices_per_node * len(self.on_nodes)

    @property
    def priced_on(self) -> date:
        """The day that picks the price among the dated ones."""
        return self.in_service if self.purchased is None else self.purchased


class Engine(Lasting):
    """An inference engine: what it serves, and on which devices ("node/device" or "node/*")."""

    name: Name
    served_model: Text | None = None
    served_models: dict[Text, Share] = Field(default_factory=dict)
    devices: Annotated[tuple[Text, ...], Field(min_length=1)]
    readers: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _served(self) -> "Engine":
        if (self.served_model is None) == (not self.served_models):
            raise ValueError("either served_model or served_models")
        if self.served_models and abs(sum(self.served_models.values()) - 1) > 1e-9:  # noqa: PLR2004 - rounding
            raise ValueError("weights in served_models that sum to 1")
        if any(not all(device.partition("/")) for device in self.devices):
            raise ValueError('devices as "node/device" or "node/*"')
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The share of the engine that each served model has."""
        return self.served_models if self.served_model is None else {self.served_model: 1.0}
