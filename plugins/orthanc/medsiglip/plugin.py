"""The start: registers the plug-in with Orthanc."""

from __future__ import annotations

import sqlite3

import orthanc

from medsiglip.background import BackgroundThread
from medsiglip.configuration import ConfigurationError, read_configuration
from medsiglip.constants import EXPLORER
from medsiglip.routes import Routes


def start() -> None:
    """Register with Orthanc. A wrong configuration is logged and answered by every route; Orthanc itself runs on."""
    background, problem = None, ""
    try:
        background = open_background()
    except (ConfigurationError, ValueError, TypeError, AttributeError) as error:
        problem = str(error)
        orthanc.LogError(f"MedSigLIP does nothing: the MedSigLIP block of Orthanc's configuration is wrong: {problem}")
    orthanc.RegisterRestCallback("/medsiglip/.*", Routes(background, problem).serve)
    if background is None:
        return
    if background.configuration.explorer_section:
        orthanc.ExtendOrthancExplorer(EXPLORER)
    thread = background

    def on_change(change: int, level: int, resource: str) -> None:
        if change == orthanc.ChangeType.ORTHANC_STARTED:
            thread.start()
        elif change == orthanc.ChangeType.ORTHANC_STOPPED:
            thread.stop()
        elif change == orthanc.ChangeType.DELETED and level == orthanc.ResourceType.STUDY:
            thread.study_deleted(resource)
        elif change in (orthanc.ChangeType.STABLE_STUDY, orthanc.ChangeType.STABLE_SERIES):
            thread.wake()

    orthanc.RegisterOnChangeCallback(on_change)


def open_background() -> BackgroundThread:
    """The thread, not started. Raises ConfigurationError for a wrong configuration or a queue that cannot be opened."""
    configuration = read_configuration()
    try:
        return BackgroundThread(configuration)
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(f'"QueueFile": {configuration.queue_file} cannot be opened: {error}') from error
