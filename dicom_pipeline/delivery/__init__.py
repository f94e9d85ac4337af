"""DELIVER: reports to destinations, each exactly once, tried again until delivered or set aside for a person.

destination (what one is), rules, retry and statuses (pure), dicom_node with query and commitment (verification), dicomweb,
folder, orthanc, comparison (of what was sent and what is read back), handshakes (why one failed), words (of a peer), sender (a
thread each).
"""

from dicom_pipeline.delivery.destination import Attempt, Destination, Ending
from dicom_pipeline.delivery.dicom_node import DicomNode
from dicom_pipeline.delivery.dicomweb import DicomWebServer
from dicom_pipeline.delivery.folder import Folder
from dicom_pipeline.delivery.orthanc import OrthancServer, orthanc_client, orthanc_problem
from dicom_pipeline.delivery.retry import RetryRule, next_attempt
from dicom_pipeline.delivery.rules import DeliveryRule, StudyFacts, wants
from dicom_pipeline.delivery.sender import Sender

__all__ = [
    "Attempt",
    "DeliveryRule",
    "Destination",
    "DicomNode",
    "DicomWebServer",
    "Ending",
    "Folder",
    "OrthancServer",
    "RetryRule",
    "Sender",
    "StudyFacts",
    "next_attempt",
    "orthanc_client",
    "orthanc_problem",
    "wants",
]
