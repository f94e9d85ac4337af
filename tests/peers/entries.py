"""Instances in a catalog without files."""

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import Arrival, Received, enter_instance


def record_instance(catalog: Catalog, received: Received) -> Arrival:
    """Enter an instance in a transaction of its own."""
    with catalog.transaction() as run:
        return enter_instance(run, received)
