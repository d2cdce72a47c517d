"""The Meterhouse collector: takes reports, keeps the ledger, computes the figures."""

__version__ = "0.1.0"
