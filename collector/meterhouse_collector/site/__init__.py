"""The site model: what is known of a site without measuring it, and look-ups into it."""
