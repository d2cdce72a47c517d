"""Money: computed from what was measured and the site model, never stored with the readings."""
