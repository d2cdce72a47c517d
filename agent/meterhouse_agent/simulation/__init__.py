"""A fleet that is a pure function of (seed, node, time), with closed-form integrals.

Whole milliseconds, milliwatts, microjoules and microtokens, as exact Python integers: what is
read at a time can be computed again at any later time, by any process, to the last digit.
"""
