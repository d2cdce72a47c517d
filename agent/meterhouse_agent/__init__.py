"""The Meterhouse agent: measures one node, or the meters of a building, and reports."""

__version__ = "0.1.0"
