"""Runs the collector under cProfile, by CPU time: waiting costs nothing.

``python profiled.py FILE ARGUMENT…`` leaves the profile in a file.
"""

import cProfile
import sys
import time

from meterhouse_collector.__main__ import main

if __name__ == "__main__":
    profile = cProfile.Profile(time.process_time)
    try:
        sys.exit(profile.runcall(main, sys.argv[2:]))
    finally:
        profile.dump_stats(sys.argv[1])
