"""Settlement: what a site's time and joules cost, quarter by quarter, in exact decimals."""
