"""The tables of the embedded store, and every statement it runs on them."""

from typing import Final

SCHEMA: Final = 1
# Starts come first in the keys: rows arrive by time and leave by time.
TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS packed (
    policy TEXT NOT NULL, measurement TEXT NOT NULL, site TEXT NOT NULL, thing TEXT NOT NULL,
    reader TEXT NOT NULL, start_seconds INTEGER NOT NULL, row TEXT NOT NULL,
    PRIMARY KEY (policy, measurement, start_seconds, thing, reader, site)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS point (
    policy TEXT NOT NULL, measurement TEXT NOT NULL, tags TEXT NOT NULL,
    start_seconds INTEGER NOT NULL, fields TEXT NOT NULL,
    PRIMARY KEY (policy, measurement, start_seconds, tags)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS field (
    policy TEXT NOT NULL, measurement TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
    PRIMARY KEY (policy, measurement, name)) WITHOUT ROWID""",
)
PUT_PACKED: Final = (
    "INSERT OR REPLACE INTO packed (policy, measurement, site, thing, reader, start_seconds, row)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
PUT_POINT: Final = (
    "INSERT OR REPLACE INTO point (policy, measurement, tags, start_seconds, fields)"
    " VALUES (?, ?, ?, ?, ?)"
)
PUT_FIELD: Final = (
    "INSERT OR IGNORE INTO field (policy, measurement, name, type) VALUES (?, ?, ?, ?)"
)
FORGET: Final = (
    """DELETE FROM packed WHERE (policy, measurement, start_seconds, thing, reader, site) IN (
    SELECT policy, measurement, start_seconds, thing, reader, site FROM packed
    WHERE policy = ? AND measurement = ? AND start_seconds < ? LIMIT ?)""",
    """DELETE FROM point WHERE (policy, measurement, start_seconds, tags) IN (
    SELECT policy, measurement, start_seconds, tags FROM point
    WHERE policy = ? AND measurement = ? AND start_seconds < ? LIMIT ?)""",
)
READ_PACKED: Final = """
SELECT policy, measurement, site, thing, reader, start_seconds, row FROM packed
WHERE policy = ? AND measurement = ? AND start_seconds >= ? AND start_seconds < ?
ORDER BY thing, reader, start_seconds
"""
# Steps from start to start, so that one thing's rows cost the same beside one other or thousands.
READ_THING: Final = """
WITH RECURSIVE starts (start) AS (
    SELECT min(start_seconds) FROM packed
    WHERE policy = ?1 AND measurement = ?2 AND start_seconds >= ?3 AND start_seconds < ?4
    UNION ALL
    SELECT (SELECT min(start_seconds) FROM packed WHERE policy = ?1 AND measurement = ?2
            AND start_seconds > start AND start_seconds < ?4)
    FROM starts WHERE start IS NOT NULL)
SELECT policy, measurement, site, thing, reader, start_seconds, row
FROM starts CROSS JOIN packed
WHERE policy = ?1 AND measurement = ?2 AND start_seconds = start AND thing = ?5
ORDER BY thing, reader, start_seconds
"""
# A tag is a part of the JSON text that all of them are; every text has an empty part.
READ_POINTS: Final = """
SELECT tags, fields, start_seconds FROM point
WHERE policy = ? AND measurement = ? AND start_seconds >= ? AND start_seconds < ?
AND instr(tags, ?) > 0
"""
READ_OLDEST: Final = """
SELECT min(start_seconds) FROM (
    SELECT min(start_seconds) AS start_seconds FROM packed WHERE policy = ?1 AND measurement = ?2
    UNION ALL
    SELECT min(start_seconds) FROM point WHERE policy = ?1 AND measurement = ?2)
"""
