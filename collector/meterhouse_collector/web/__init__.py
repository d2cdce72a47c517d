"""The live page: what the collector knows right now, for people and for programs."""
