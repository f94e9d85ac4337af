"""`send`: files to a DICOM node, to try a listener."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_pipeline.cli.printing import AsJson, console, print_json
from dicom_pipeline.errors import DeliveryError, UsageError

if TYPE_CHECKING:
    from dicom_pipeline.planning import Header

MAX_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 9.3.2.2)."""


def send(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH... AET@HOST:PORT", help="Files or folders, then the node.")
    ],
    calling: Annotated[str, typer.Option(help="AE title to call with.")] = "DICOMPIPE_SCU",
    as_json: AsJson = False,
) -> None:
    """Send files by C-STORE, as they are, e.g. `send folder DICOMPIPE@127.0.0.1:11112`."""
    from dicom_pipeline.planning import scan

    *files, node = paths
    if not files:
        raise UsageError("expected files or folders, then AET@host:port")
    called, host, port = parse_node(str(node))
    found = scan(files)
    headers = [header for members in found.studies.values() for header in members]
    if not headers:
        raise UsageError("there is no DICOM instance in these paths")
    statuses = send_instances(headers, called, host, port, calling)
    failed = {uid: f"0x{status:04X}" for uid, status in statuses.items() if status != 0}
    if as_json:
        print_json({"sent": len(statuses) - len(failed), "failed": failed})
    else:
        console().print(f"{len(statuses) - len(failed)} of {len(headers)} instances sent to {called}")
        for uid, status in failed.items():
            console().print(f"  {uid}: {status}")
    raise typer.Exit(1 if failed or len(statuses) < len(headers) else 0)


def parse_node(text: str) -> tuple[str, str, int]:
    """AE title, host and port of AET@host:port. Raises UsageError."""
    match = re.fullmatch(r"([^@\\]{1,16})@(\[[0-9a-fA-F:]+\]|[^:@\s]+):(\d{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise UsageError(f"cannot read {text!r} as a DICOM node: expected AET@host:port")
    return match[1], match[2].strip("[]"), int(match[3])


def send_instances(headers: list[Header], called: str, host: str, port: int, calling: str) -> dict[str, int]:
    """SOP Instance UID -> C-STORE status, in associations of at most 128 presentation contexts. Raises DeliveryError."""
    from pydicom import dcmread
    from pynetdicom import AE
    from pynetdicom.presentation import build_context

    by_context: dict[tuple[str, str], list[Header]] = {}
    for header in headers:
        by_context.setdefault((header.sop_class_uid, header.transfer_syntax_uid), []).append(header)
    pairs = list(by_context)
    statuses: dict[str, int] = {}
    for start in range(0, len(pairs), MAX_CONTEXTS):
        wanted = pairs[start : start + MAX_CONTEXTS]
        contexts = [build_context(abstract, transfer) for abstract, transfer in wanted]
        try:
            association = AE(ae_title=calling).associate(host, port, contexts=contexts, ae_title=called)
        except (OSError, UnicodeError) as error:
            raise DeliveryError(f"the host name {host} cannot be resolved ({type(error).__name__})") from error
        if not association.is_established:
            raise DeliveryError(
                f"{called}@{host}:{port} does not take the association; is it listening under this title?"
            )
        for pair in wanted:
            for header in by_context[pair]:
                try:
                    answer = association.send_c_store(dcmread(header.path, force=True))
                except (ValueError, RuntimeError, AttributeError):
                    statuses[header.sop_instance_uid] = 0x0122  # refused: SOP class or syntax not accepted
                    continue
                statuses[header.sop_instance_uid] = int(answer.get("Status", 0xC000))
        association.release()
    return statuses
