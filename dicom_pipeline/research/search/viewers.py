"""Links from a search result to the images in a viewer: OHIF, Stone, Weasis, or any URL with {study} in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from dicom_pipeline.errors import UsageError

KNOWN = {
    "ohif": "{base}/viewer?StudyInstanceUIDs={study}",
    "stone": "{base}/index.html?study={study}&series={series}",
    "weasis": 'weasis://$dicom:rs --url "{base}" -r "studyUID={study}"',
}
"""Viewer -> its link; base is the viewer's URL, for Weasis that of the DICOMweb server (their documentation, 2025)."""


class Viewer:
    """A viewer by its NAME=URL. URL is the base of a known viewer, or has {study} and maybe {series} in it."""

    def __init__(self, text: str) -> None:
        name, equals, url = text.partition("=")
        if not equals or not url.startswith(("http://", "https://", "weasis://")):
            raise UsageError(f"cannot read {text!r} as a viewer: expected NAME=URL, such as OHIF=http://host/ohif")
        if "{study}" not in url:
            if name.lower() not in KNOWN:
                raise UsageError(f"the viewer {name!r} is not {', '.join(KNOWN)}: write its URL with {{study}} in it")
            url = KNOWN[name.lower()].replace("{base}", url.rstrip("/"))
        self.name = name
        self._url = url

    def link(self, row: Mapping[str, str]) -> str:
        """The link to a row's study."""
        study, series = (quote(row[f"{what}_instance_uid"], safe=".") for what in ("study", "series"))
        url = self._url.replace("{study}", study).replace("{series}", series)
        return "weasis://" + quote(url.removeprefix("weasis://"), safe="") if url.startswith("weasis://") else url


def viewers_of(texts: Sequence[str]) -> list[Viewer]:
    """Viewers from NAME=URL texts. Raises UsageError."""
    return [Viewer(text) for text in texts]
