"""One figure, down to the rows of the ledger that it came from."""
