"""What the catalog says of an instance that came, in the words of the audit trail."""

from __future__ import annotations

from dicom_pipeline.audit import Held
from dicom_pipeline.catalog.arrivals import Arrival

HELD = {Arrival.NEW: Held.NOTHING, Arrival.DUPLICATE: Held.SAME, Arrival.CONFLICT: Held.OTHER}
