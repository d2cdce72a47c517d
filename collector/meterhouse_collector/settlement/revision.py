"""Fingerprints: of a site model, by which money was made."""

import hashlib

from meterhouse_collector.site.model import SiteModel


def model_revision(model: SiteModel) -> str:
    """Return the fingerprint of a site model: the same for the same tables."""
    return hashlib.sha256(model.model_dump_json().encode()).hexdigest()[:12]
