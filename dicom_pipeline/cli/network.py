"""`send`: files to a DICOM node, to try a listener."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_pipeline.cli.printing import AsJson, console, print_json
from dicom_pipeline.errors import DeliveryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicom_pipeline.domain import Excluded
    from dicom_pipeline.peers.sending import Sent
    from dicom_pipeline.planning import Header, Scan


def send(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH... AET@HOST:PORT", help="Files or folders, then the node.")
    ],
    calling: Annotated[str, typer.Option(help="AE title to call with.")] = "DICOMPIPE_SCU",
    as_json: AsJson = False,
) -> None:
    """Send files by C-STORE, as they are, e.g. `send folder DICOMPIPE@127.0.0.1:11112`."""
    from dicom_pipeline.domain import Outcome
    from dicom_pipeline.planning import scan

    *files, node = paths
    if not files:
        raise UsageError("expected files or folders, then AET@host:port")
    called, host, port = parse_node(str(node))
    found = scan(files)
    headers = [header for members in found.studies.values() for header in members]
    excluded = [item for items in found.excluded.values() for item in items]
    if not headers:
        raise UsageError(f"there is no DICOM instance in these paths{_examples(found)}")
    results = _sent(headers, called, host, port, calling)
    if as_json:
        print_json(
            {
                "sent": sum(not sent.problem for sent in results),
                "failed": {sent.header.sop_instance_uid: sent.problem for sent in results if sent.problem},
                "excluded": {str(item.path): item.reason.value for item in excluded},
                "not_dicom": [str(path) for path in found.other_files],
            }
        )
    else:
        _print_results(results, excluded, found.other_files, f"{called}@{host}:{port}")
    bad = any(sent.problem for sent in results) or any(item.reason.outcome is Outcome.FAILED for item in excluded)
    raise typer.Exit(1 if bad else 0)


def parse_node(text: str) -> tuple[str, str, int]:
    """AE title, host and port of AET@host:port. Raises UsageError."""
    match = re.fullmatch(r"([^@\\]{1,16})@(\[[0-9a-fA-F:]+\]|[^:@\s]+):(\d{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise UsageError(f"cannot read {text!r} as a DICOM node: expected AET@host:port")
    return match[1], match[2].strip("[]"), int(match[3])


def send_instances(headers: list[Header], called: str, host: str, port: int, calling: str) -> dict[str, int]:
    """SOP Instance UID -> C-STORE status, of those that the node answered. Raises DeliveryError without any association."""
    return {
        sent.header.sop_instance_uid: sent.status
        for sent in _sent(headers, called, host, port, calling)
        if sent.status is not None
    }


def _sent(headers: list[Header], called: str, host: str, port: int, calling: str) -> list[Sent]:
    """What became of each file. Raises DeliveryError where no association came about at all."""
    from dicom_pipeline.config import DicomPeer
    from dicom_pipeline.peers.dicom_node import DicomNode
    from dicom_pipeline.peers.sending import send_files

    node = DicomNode(DicomPeer(type="dicom", name="send", ae_title=called, host=host, port=port), calling)
    results: list[Sent] = []
    for sent in send_files(node, headers):
        if sent.no_association and not results:
            raise DeliveryError(f"nothing was sent: {sent.problem}")
        results.append(sent)
    return results


def _print_results(results: Sequence[Sent], excluded: Sequence[Excluded], others: Sequence[Path], node: str) -> None:
    """Each file that was not sent with its reason, then the counts."""
    screen = console()
    failed = [sent for sent in results if sent.problem]
    for sent in failed:
        screen.print(f"not sent: {sent.header.path}: {sent.problem}", soft_wrap=True, highlight=False)
    for item in excluded:
        screen.print(f"not sent: {item.path}: {item.reason.sentence}", soft_wrap=True, highlight=False)
    for path in others:
        screen.print(f"not a DICOM instance: {path}", soft_wrap=True, highlight=False)
    counts = [f"{len(results) - len(failed)} of {len(results) + len(excluded)} instances sent to {node}"]
    counts += [f"{len(failed) + len(excluded)} not sent"] if failed or excluded else []
    counts += [f"{len(others)} files are not DICOM"] if others else []
    screen.print("; ".join(counts), soft_wrap=True, highlight=False)


def _examples(found: Scan) -> str:
    """Some of the files that were looked at, and what they are."""
    lines = [f"{path} is not a DICOM file" for path in found.other_files]
    lines += [f"{item.path}: {item.reason.sentence}" for items in found.excluded.values() for item in items]
    return "".join(f"\n  {line}" for line in lines[:5])
