"""What was sent beside what a destination gives back, as data sets: the file around them changes on its way, they must not."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag

NO_OBJECT_READ_BACK = "stored, but what was read back is no DICOM object"


def changed_attributes(sent: Dataset, back: Dataset) -> list[str]:
    """Names of the attributes that came back with another value or not at all, at the top level; never their values.

    An empty attribute may be left out, and a server may add its own (such as Retrieve AE Title).
    """
    return [
        keyword_for_tag(element.tag) or str(element.tag)
        for element in sent
        if (back[element.tag] != element if element.tag in back else not element.is_empty)
    ]


def difference(sent: Dataset, back: Dataset) -> str:
    """A sentence that names what differs, "" where nothing does."""
    changed = changed_attributes(sent, back)
    return f"another content lies there under this UID (differs in {', '.join(changed[:8])})" if changed else ""
