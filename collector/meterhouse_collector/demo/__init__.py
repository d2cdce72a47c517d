"""The demo: a small simulated site, measured by real agents and collected for real."""
