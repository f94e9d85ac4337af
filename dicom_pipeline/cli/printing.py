"""Tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.domain import Level, Reason, score_text

if TYPE_CHECKING:
    from dicom_pipeline.results.score_rows import ScoreRow

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead.")]


def console() -> Console:
    """Standard output; wide where it is no terminal, so that nothing is cut in a log.

    Texts of others (peers, paths, labels) are printed as they are: `[removed]` is no style, `[/x]` no error, `:x:` no picture.
    """
    from rich.console import Console

    plain = Console(markup=False, emoji=False)
    return plain if plain.is_terminal else Console(width=180, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """A value as indented JSON on standard output."""
    typer.echo(json.dumps(value, indent=1))


def time_text(at: float) -> str:
    """Seconds since 1970 as this machine's local time, to the minute."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def table(title: str, columns: Sequence[str]) -> Table:
    """An empty table in the house's style."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def plans_table(plans: Sequence[Mapping[str, Any]], scores: Sequence[ScoreRow]) -> Table:
    """A row a series: frames used, what was not and why, top labels."""
    made = table(
        "", ("study", "series", "frames used", "not used, and why", "top labels (uncalibrated), or what is scored")
    )
    for plan in plans:
        study = f"{plan['name']}\n{plan['instances']['received']} instances"
        for series in plan["series"]:
            uid = series["series_instance_uid"]
            mine = [s for s in scores if s.level is Level.SERIES and s.series_instance_uid == uid]
            top = sorted(mine, key=lambda s: -s.value)[:3]
            made.add_row(
                study,
                f"{series['name']}\n{series['preset']}, {series['selection']}"
                + "".join(f"\n{note}" for name in ("order_note", "choice_note") if (note := series.get(name))),
                str(len(series["frames"])),
                reasons_text(series["excluded"]),
                ("\n".join(f"{s.label} {score_text(s.value, 2)}" for s in top) or label_sets_text(series))
                + out_of_domain_text(series),
            )
            study = ""
        if plan["excluded"]:
            made.add_row(study, "other instances", "0", reasons_text(plan["excluded"]), "")
        made.add_section()
    return made


def out_of_domain_text(series: Mapping[str, Any]) -> str:
    """A line that says how many frames of a series are out of the model's domain, "" where none is or none was judged."""
    count = series.get("out_of_domain")
    return f"\nOUT OF DOMAIN: {count} of {len(series['frames'])} frames" if count else ""


def label_sets_text(series: Mapping[str, Any]) -> str:
    """The label sets of a series: how many of their labels apply, and why others do not."""
    lines = []
    for each in series.get("label_sets", ()):
        count = len(each["labels"])
        lines.append(
            f"{each['label_set']}: {count or 'no'} label{'' if count == 1 else 's'}"
            + (" apply" if count != 1 else " applies")
        )
        lines += [f"  not scored: {reason}" for reason in each["reasons"]]
    return "\n".join(lines) or "no label set"


def reasons_text(excluded: Sequence[Mapping[str, Any]]) -> str:
    """`12 x not chosen by the selection` lines, one a reason."""
    counts: dict[str, int] = {}
    for item in excluded:
        counts[item["reason"]] = counts.get(item["reason"], 0) + 1
    return "\n".join(f"{count} x {code}: {Reason.of(code).sentence}" for code, count in counts.items())
