"""Sums per interval: samples in, the parts of a report out. No I/O."""
