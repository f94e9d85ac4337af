"""One TOML file -> frozen settings.

Each field says its unit, its default and why in its description; `dicom-pipeline init` prints them as comments, and
docs/configuration.md is the same text. Any value can be overridden by an environment variable
`DICOM_PIPELINE_SECTION__FIELD`. Secrets are never written here: a setting that ends in `_env` names the environment
variable that holds one.

settings (all of them, read from a file), fields (what values may be), secrets, settings_text (the file that `init` writes);
receiving, processing, peers, operating (sections); tls_files (what is wrong with one); older_tables (what peers were called
before).
"""

from dicom_pipeline.config.operating import AuditSection, ServiceSection
from dicom_pipeline.config.peers import AnyPeer, DeliverSection, DicomPeer, DicomWebPeer, FolderPeer, OrthancPeer
from dicom_pipeline.config.processing import (
    EncoderSection,
    PlanningSection,
    RenderingSection,
    ReportSection,
    ScoringSection,
    StoreSection,
)
from dicom_pipeline.config.receiving import (
    AssemblyRuleSection,
    AssemblySection,
    ListenerSection,
    SpoolSection,
)
from dicom_pipeline.config.settings import Settings, load_settings, store_uri

__all__ = [
    "AnyPeer",
    "AssemblyRuleSection",
    "AssemblySection",
    "AuditSection",
    "DeliverSection",
    "DicomPeer",
    "DicomWebPeer",
    "EncoderSection",
    "FolderPeer",
    "ListenerSection",
    "OrthancPeer",
    "PlanningSection",
    "RenderingSection",
    "ReportSection",
    "ScoringSection",
    "ServiceSection",
    "Settings",
    "SpoolSection",
    "StoreSection",
    "load_settings",
    "store_uri",
]
