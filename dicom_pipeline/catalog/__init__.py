"""REMEMBER: what was received, what became of it, what was reported and where it went. The only room that speaks SQL.

schema.sql, queries.sql (every statement by name), database (the file), arrivals, revisions, outbox, studies, pulls,
commitments (that we are asked for), commitment_requests (that we ask for), retention (what may be cleaned), records
(of revisions, for a rebuild), account; migrations/ lead from one schema to the next. A room of its own: browsing (lists
for a person).
"""

from dicom_pipeline.catalog.database import Catalog

__all__ = ["Catalog"]
