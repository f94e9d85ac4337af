"""One TOML file -> frozen settings.

Each field says its unit, its default and why in its description; `dicom-pipeline init` prints them as comments, and
docs/configuration.md is the same text. Any value can be overridden by an environment variable
`DICOM_PIPELINE_SECTION__FIELD`. Secrets are never written here: a setting that ends in `_env` names the environment
variable that holds one.

settings (all of them, read from a file), fields (what values may be), secrets, settings_text (the file that `init` writes);
receiving, processing, delivering, operating (sections).
"""

from dicom_pipeline.config.delivering import (
    AnyDestination,
    DicomDestination,
    DicomWebDestination,
    FolderDestination,
    OrthancDestination,
)
from dicom_pipeline.config.operating import AuditSection, ServiceSection
from dicom_pipeline.config.processing import (
    EncoderSection,
    PlanningSection,
    ReportSection,
    ScoringSection,
    StoreSection,
)
from dicom_pipeline.config.receiving import (
    AssemblyRuleSection,
    AssemblySection,
    ListenerSection,
    OrthancSource,
    PeerSection,
    SpoolSection,
)
from dicom_pipeline.config.settings import Settings, load_settings, store_uri

__all__ = [
    "AnyDestination",
    "AssemblyRuleSection",
    "AssemblySection",
    "AuditSection",
    "DicomDestination",
    "DicomWebDestination",
    "EncoderSection",
    "FolderDestination",
    "ListenerSection",
    "OrthancDestination",
    "OrthancSource",
    "PeerSection",
    "PlanningSection",
    "ReportSection",
    "ScoringSection",
    "ServiceSection",
    "Settings",
    "SpoolSection",
    "StoreSection",
    "load_settings",
    "store_uri",
]
