"""Alerts: conditions are pure functions of what is known, their state lives in ``event``.

``conditions`` turn what is known into observations, ``state`` turns observations into transitions,
``book`` keeps what is open, and ``engine`` does this again and again and writes it down. Whom a
transition is told to is no concern of these modules.
"""
