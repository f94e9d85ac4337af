"""`demo`: the main job on the sample studies, with a real listener and a real C-STORE, on loopback."""

from __future__ import annotations

import multiprocessing
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.cli.network import send_instances
from dicom_pipeline.cli.offline import show_results
from dicom_pipeline.cli.printing import console
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.errors import CatalogError, DicomPipelineError, UsageError

if TYPE_CHECKING:
    from dicom_pipeline.config import Settings

AE_TITLE = "DEMO"
PATIENCE_SECONDS = 300.0
ENDED = (RevisionState.DONE, RevisionState.NO_LABEL, RevisionState.NO_IMAGE, RevisionState.FAILED)


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the results; an earlier run's are replaced.")
    ] = Path("demo-output"),
    data: Annotated[Path, typer.Option(help="Folder of the studies to send.")] = Path("sample_data/studies"),
) -> None:
    """Start a listener on loopback, send the sample studies to it, wait, and show what came of them."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from dicom_pipeline.planning import scan
    from dicom_pipeline.results.folder import OutputFolder
    from dicom_pipeline.results.record import result_folder
    from dicom_pipeline.results.study_output import StudyOutput

    found = scan([data])
    headers = [header for members in found.studies.values() for header in members]
    if not headers:
        raise UsageError(f"there is no DICOM in {data}; run this in the project's folder, or give --data")
    OutputFolder(out).check()
    with tempfile.TemporaryDirectory(prefix="dicom-pipeline-demo-") as work:
        settings = _settings(Path(work))
        service = multiprocessing.get_context("spawn").Process(target=_serve, args=(settings,))
        service.start()
        try:
            with Progress(
                SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), transient=True
            ) as bar:
                task = bar.add_task("starting the listener and loading the model")
                _wait_for_listener(settings, service)
                bar.update(task, description=f"sending {len(headers)} instances by C-STORE")
                port = settings.listener.port
                statuses = send_instances(headers, AE_TITLE, "127.0.0.1", port, "DEMO_SCU")
                if any(statuses.values()):
                    raise DicomPipelineError("the listener refused instances; see the messages above")
                account = _wait_for_results(
                    settings, len(found.studies), lambda text: bar.update(task, description=text)
                )
        finally:
            service.terminate()
            service.join()
        folder = OutputFolder(out, escape_formulas=settings.results.escape_formulas)
        for revision in account["revisions"]:
            where = result_folder(revision["study_instance_uid"], revision["number"])
            folder.add(StudyOutput.read(settings.spool.folder / where))
        folder.write()
    show_results(folder)
    console().print(f"Open {out / 'report.html'} in a browser.")


def _settings(work: Path) -> Settings:
    from dicom_pipeline.config import load_settings

    settings = load_settings()
    return settings.model_copy(
        update={
            "listener": settings.listener.model_copy(update={"ae_title": AE_TITLE, "port": _free_port()}),
            "spool": settings.spool.model_copy(update={"folder": work}),
            "assembly": settings.assembly.model_copy(update={"quiet_seconds": 1.0}),
            "store": settings.store.model_copy(update={"write": False}),  # it would go with the folder
            "service": settings.service.model_copy(update={"web_port": None, "log_level": "WARNING"}),
        }
    )


def _serve(settings: Settings) -> None:
    from dicom_pipeline.service.logs import set_up_logs
    from dicom_pipeline.service.supervisor import serve

    set_up_logs("text", "WARNING")
    serve(settings)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_listener(settings: Settings, service: Any) -> None:
    from dicom_pipeline.peers.dicom_node import listener_as_peer

    node = listener_as_peer(settings.listener, "DEMO_SCU", timeout_seconds=2.0)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while node.echo():
        if not service.is_alive() or time.monotonic() > deadline:
            raise DicomPipelineError("the listener did not start; see the messages above")
        time.sleep(0.2)


def _wait_for_results(settings: Settings, studies: int, tell: Any) -> dict[str, Any]:
    catalog = Catalog(settings.spool.folder / "catalog.sqlite")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        account = service_account(catalog, last=None)
        ended = [r for r in account["revisions"] if r["state"] in ENDED]
        tell(f"{len(ended)} of {studies} studies processed")
        if len(ended) >= studies and not account["totals"]["waiting"]:
            catalog.close()
            return account
        time.sleep(0.2)
    raise CatalogError("the studies were not processed in time")
