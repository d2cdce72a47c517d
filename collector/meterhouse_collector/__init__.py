"""What runs once per site: it receives reports, keeps the ledger and computes the figures."""
