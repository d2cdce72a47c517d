"""Quarter hours: summed from the ledger, rolled up, kept true to it, and read as windows."""
