"""Tests, and the real servers they start."""
