"""Tells Alertmanager and a webhook of the alerts that fire, and of their end.

``message`` and ``due`` are pure; ``told`` is what was told already, which is kept in ``event``, so
that a restart tells nothing twice; ``post`` speaks HTTP, and ``notifier`` does it again and again.
"""
