"""KPIs: pure functions of sums, and the catalogue of what there is."""
