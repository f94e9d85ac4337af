"""A report as a person reads it: plain text or one HTML page, for `dicom-pipeline show`."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, select_autoescape

from dicom_pipeline.domain import short_uid
from dicom_pipeline.reporting.content import STATEMENT
from dicom_pipeline.reporting.readback import ReportContent, ReportScore


def report_text(report: ReportContent) -> str:
    """Several lines: what it is, series scores with a bar each, key frames, provenance."""
    lines = [
        f"AI RESEARCH report, revision {report.revision}, {report.content_date} {report.content_time[:6]}",
        STATEMENT,
    ]
    if report.parameters.get("notice"):
        lines.append(report.parameters["notice"])
    lines += [f"Study {short_uid(report.study_instance_uid)}, {len(report.sources)} source instances", ""]
    joined = [score for score in report.scores if score.derivation is not None]
    lines += ["Series scores (uncalibrated)", *(_line(score) for score in joined), ""]
    frames = [score for score in report.scores if score.derivation is None]
    if frames:
        lines += ["Key frames", *(_line(score) for score in frames), ""]
    lines += ["Made by", *(f"  {name}: {value}" for name, value in report.parameters.items() if name != "notice")]
    if report.predecessor:
        lines.append(f"  replaces: {report.predecessor}")
    return "\n".join(lines)


def report_html(report: ReportContent) -> str:
    """The same as one HTML page that needs no network and no other file."""
    template = (resources.files("dicom_pipeline") / "data" / "templates" / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    groups = [
        ("Series scores", [score for score in report.scores if score.derivation is not None]),
        ("Key frames", [score for score in report.scores if score.derivation is None]),
    ]
    return environment.from_string(template).render(report=report, groups=groups, statement=STATEMENT)


def _line(score: ReportScore) -> str:
    bar = "#" * round(score.value * 20)
    how = score.derivation.value if score.derivation else "frame"
    where = f"{short_uid(score.frame.sop_instance_uid)} frame {score.frame.frame}"
    return f"  {score.label:<28} {score.value:6.3f} {bar:<20}  {how}, {score.kind.value}, {where}"
