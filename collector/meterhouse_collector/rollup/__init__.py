"""The rollup: ledger rows of one interval summed into the finest groups. Pure."""
