"""The sections of the reference: one module for each kind of thing."""
