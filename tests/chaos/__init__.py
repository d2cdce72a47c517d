"""Chaos: a fleet with known truth on real servers, under faults drawn from a seed."""
