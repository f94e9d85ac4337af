"""A report as a person reads it: plain text or one HTML page, for `dicom-pipeline show`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, select_autoescape

from dicom_pipeline.domain import ScoreKind, score_text
from dicom_pipeline.reporting.readback import ReportContent, ReportScore
from dicom_pipeline.reporting.summary import STATEMENT


def report_text(report: ReportContent) -> str:
    """Several lines: what it is, each series' scores with a bar each, its key frames, provenance; highest scores first."""
    lines = [f"AI RESEARCH report, revision {report.revision}, {moment(report)}", STATEMENT]
    if report.parameters.get("notice"):
        lines.append(report.parameters["notice"])
    lines += ["", *(f"  {line}" for line in report.summary), *([""] if report.summary else [])]
    many = len(report.sources)
    lines += [f"Study {report.study_instance_uid}", f"{many} source {'instance' if many == 1 else 'instances'}", ""]
    for title, scores in groups(report):
        lines += [title, *(_line(score) for score in scores), ""]
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
        statement=STATEMENT,
        moment=moment(report),
    )


def groups(report: ReportContent) -> list[tuple[str, list[ReportScore]]]:
    """Title and scores of each series and then of its key frames, frame by frame; highest first."""
    made = []
    position = {
        frame: n for n, frame in enumerate(dict.fromkeys(s.frame for s in report.scores if s.derivation is None))
    }
    for series in dict.fromkeys(score.series_instance_uid for score in report.scores):
        mine = sorted((s for s in report.scores if s.series_instance_uid == series), key=lambda s: (-s.value, s.label))
        aggregated = [score for score in mine if score.derivation is not None]
        made.append((f"{mine[0].series_name}: scores{_caution(aggregated)}", aggregated))
        frames = sorted((s for s in mine if s.derivation is None), key=lambda s: position[s.frame])
        made.append((f"{mine[0].series_name}: key frames", frames))
    return [(title, scores) for title, scores in made if scores]


def moment(report: ReportContent) -> str:
    """The report's time as YYYY-MM-DD HH:MM with its offset from UTC."""
    date, time = report.content_date, report.content_time
    return f"{date[:4]}-{date[4:6]}-{date[6:]} {time[:2]}:{time[2:4]} {report.timezone}"


def _caution(scores: Sequence[ReportScore]) -> str:
    return "" if all(score.kind is ScoreKind.PROBE_PROBABILITY for score in scores) else " (uncalibrated)"


def _line(score: ReportScore) -> str:
    bar = "#" * round(min(max(score.value, 0.0), 1.0) * 20)
    how = score.derivation.value if score.derivation else "frame"
    judged = {None: "", True: ", above threshold", False: ", below threshold"}[score.above_threshold]
    domain = f", {score.domain.replace('_', ' ').upper()}" if score.domain else ""
    how = f"{how}, {score.kind.value}, {score.image_name}{judged}{domain}"
    return f"  {score.label:<28} {score_text(score.value):>7} {bar:<20}  {how}"


def _without_control_characters(line: str) -> str:
    """The line without control characters: a file may say what would move a terminal's cursor or change its colours."""
    return "".join(c if unicodedata.category(c) not in ("Cc", "Zl", "Zp") else " " for c in line)
