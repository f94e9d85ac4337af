"""A report as a person reads it: plain text or one HTML page, for `dicom-pipeline show`."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

from jinja2 import Environment, select_autoescape

from dicom_pipeline.domain import ScoreKind, score_text, short_uid
from dicom_pipeline.reporting.content import STATEMENT
from dicom_pipeline.reporting.readback import ReportContent, ReportScore


def report_text(report: ReportContent) -> str:
    """Several lines: what it is, each series' scores with a bar each, its key frames, provenance; highest scores first."""
    lines = [f"AI RESEARCH report, revision {report.revision}, {moment(report)}", STATEMENT]
    if report.parameters.get("notice"):
        lines.append(report.parameters["notice"])
    many = len(report.sources)
    lines += [
        f"Study {short_uid(report.study_instance_uid)}, {many} source {'instance' if many == 1 else 'instances'}",
        "",
    ]
    frames = distinct_names(score.frame.sop_instance_uid for score in report.scores)
    for title, scores in groups(report):
        lines += [title, *(_line(score, frames) for score in scores), ""]
    hidden = ("notice", "statement")
    lines += ["Made by", *(f"  {name}: {value}" for name, value in report.parameters.items() if name not in hidden)]
    if report.predecessor:
        lines.append(f"  replaces: {report.predecessor}")
    return "\n".join(_without_control_characters(line) for line in lines)


def report_html(report: ReportContent) -> str:
    """The same as one HTML page that needs no network and no other file."""
    template = (resources.files("dicom_pipeline") / "data" / "templates" / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    environment.filters["score"] = score_text
    made = environment.from_string(template)
    return made.render(
        report=report,
        groups=groups(report),
        frames=distinct_names(s.frame.sop_instance_uid for s in report.scores),
        statement=STATEMENT,
        moment=moment(report),
    )


def groups(report: ReportContent) -> list[tuple[str, list[ReportScore]]]:
    """Title and scores of each series and then of its key frames, frame by frame; highest first."""
    made = []
    position = {
        frame: n for n, frame in enumerate(dict.fromkeys(s.frame for s in report.scores if s.derivation is None))
    }
    names = distinct_names(score.series_instance_uid for score in report.scores)
    for series in names:
        mine = sorted((s for s in report.scores if s.series_instance_uid == series), key=lambda s: (-s.value, s.label))
        aggregated = [score for score in mine if score.derivation is not None]
        made.append((f"Series {names[series]}: scores{_caution(aggregated)}", aggregated))
        frames = sorted((s for s in mine if s.derivation is None), key=lambda s: position[s.frame])
        made.append((f"Series {names[series]}: key frames", frames))
    return [(title, scores) for title, scores in made if scores]


def distinct_names(uids: Iterable[str]) -> dict[str, str]:
    """UIDs in their order, each with its short form, or itself where another one has the same: some makers count in front."""
    short = {uid: short_uid(uid) for uid in uids}
    same = Counter(short.values())
    return {uid: text if same[text] == 1 else uid for uid, text in short.items()}


def moment(report: ReportContent) -> str:
    """The report's time as YYYY-MM-DD HH:MM with its offset from UTC."""
    date, time = report.content_date, report.content_time
    return f"{date[:4]}-{date[4:6]}-{date[6:]} {time[:2]}:{time[2:4]} {report.timezone}"


def _caution(scores: Sequence[ReportScore]) -> str:
    return "" if all(score.kind is ScoreKind.PROBE_PROBABILITY for score in scores) else " (uncalibrated)"


def _line(score: ReportScore, frames: Mapping[str, str]) -> str:
    bar = "#" * round(min(max(score.value, 0.0), 1.0) * 20)
    how = score.derivation.value if score.derivation else "frame"
    where = f"{frames[score.frame.sop_instance_uid]} frame {score.frame.frame}"
    judged = {None: "", True: ", above threshold", False: ", below threshold"}[score.above_threshold]
    domain = f", {score.domain.replace('_', ' ').upper()}" if score.domain else ""
    return f"  {score.label:<28} {score_text(score.value):>7} {bar:<20}  {how}, {score.kind.value}, {where}{judged}{domain}"


def _without_control_characters(line: str) -> str:
    """The line without control characters: a file may say what would move a terminal's cursor or change its colours."""
    return "".join(c if unicodedata.category(c) not in ("Cc", "Zl", "Zp") else " " for c in line)
