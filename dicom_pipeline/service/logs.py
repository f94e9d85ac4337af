"""Log lines: text for people or JSON for machines, one line each whatever a message holds."""

from __future__ import annotations

import json
import logging
import sys
import warnings


class OneLine(logging.Formatter):
    """Text lines with line breaks escaped, so that no received text can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


class JsonLine(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        values = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        values["message"] = record.getMessage()
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return json.dumps(values)


def set_up_logs(form: str, level: str) -> None:
    """Log to stderr. Libraries below WARNING are silent: pynetdicom and pydicom would name patients in DEBUG lines."""
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(levelname)-7s %(processName)s %(name)s: %(message)s"
    handler.setFormatter(JsonLine() if form == "json" else OneLine(text))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("dicom_pipeline").setLevel(level)
    warnings.simplefilter("ignore")  # pydicom quotes the values that it warns of
    for library in ("pynetdicom", "pydicom", "highdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
