"""What runs on a node: it measures, and sends reports."""
