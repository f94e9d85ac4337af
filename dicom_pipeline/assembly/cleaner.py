"""The spool is cleaned as the settings say: by the running service, and by a person's command."""

from __future__ import annotations

import time
from collections.abc import Collection

from dicom_pipeline.assembly.retention import Cleaned, RetentionRule, clean
from dicom_pipeline.audit import Record
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import Settings, SpoolSection
from dicom_pipeline.disk import exclusive_lock

DAY_SECONDS = 86400.0


def retention_rule(section: SpoolSection) -> RetentionRule:
    """The rule of the settings."""
    seconds = None if section.keep_days is None else section.keep_days * DAY_SECONDS
    return RetentionRule(seconds, section.keep_bytes)


def clean_spool(
    settings: Settings, catalog: Catalog, record: Record, rule: RetentionRule | None = None, also: Collection[str] = ()
) -> Cleaned:
    """Clean what may go now, by the settings' rule or another. Raises ConfigError while another process cleans."""
    with exclusive_lock(settings.spool.folder, "clean.lock"):
        return clean(catalog, rule or retention_rule(settings.spool), time.time(), also, record)
