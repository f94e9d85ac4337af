"""The HTML pages: a report, similar studies, search by words."""

from __future__ import annotations

import html
from typing import Any

from medsiglip.constants import PAGE
from medsiglip.report import Report, concept, series_labels
from medsiglip.study_content import StudyContent, study_title

NOTICE = "Research use only, not for diagnosis. Scores are uncalibrated."
LEVELS = {"frame": "frames", "series": "series", "study": "studies"}


def report_page(content: StudyContent, entry: dict[str, Any], report: Report, reports: list[dict[str, Any]]) -> str:
    """A report as a page: scores, pictures, provenance, then every content item. reports: all of the study."""
    text = html.escape
    parts = [PAGE, f"<h1>MedSigLIP scores, revision {entry['revision']}</h1><div class='notice'><b>{NOTICE}</b>"]
    parts.append(f" {text(report.parameters.get('notice', ''))}</div>{other_revisions(entry, reports)}")
    parts.append(score_sections(series_labels(content, report)))
    parts.append(
        "<section><h2>What the model saw</h2><img src='contact-sheet' alt='Contact sheet of the inputs' "
        "onerror=\"this.replaceWith('No contact sheet: the pipeline cannot be reached or has cleaned up.')\"></section>"
    )
    rows = "".join(f"<tr><td>{text(k)}</td><td>{text(v)}</td></tr>" for k, v in sorted(report.parameters.items()))
    parts.append(
        f"<section><details><summary>How the scores were made</summary><table>{rows}</table></details></section>"
    )
    tree = "".join(item_html(child) for child in report.tags.get("ContentSequence") or ())
    parts.append(f"<section><details><summary>The whole report</summary><ul>{tree}</ul></details>")
    file = f"../../../instances/{entry['instance']}/file"
    parts.append(
        f"<p class='faint'>{text(entry['sop_instance_uid'])} <a href='{file}'>DICOM file</a></p></section></main></html>"
    )
    return "".join(parts)


def other_revisions(entry: dict[str, Any], reports: list[dict[str, Any]]) -> str:
    """Links to the other revisions of a report; empty where there are none."""
    others = [
        f"<a href='report?format=html&amp;revision={one['revision']}'>{one['revision']}</a>"
        for one in reports
        if one["copied"] == entry["copied"] and one["revision"] != entry["revision"]
    ]
    return f"<p class='faint'>Other revisions: {', '.join(others)}</p>" if others else ""


def score_sections(labels: list[dict[str, Any]]) -> str:
    """The scores, a section for each series."""
    text = html.escape
    by_series: dict[str, list[dict[str, Any]]] = {}
    for label in labels:
        by_series.setdefault(label["series_description"], []).append(label)
    parts = []
    for name, scores in by_series.items():
        parts.append(
            f"<section><h2>{text(name)}</h2><table><tr><th>Label</th><th>Score</th><th></th><th>Kind</th></tr>"
        )
        for score in scores:
            width = max(0.0, min(1.0, score["value"])) * 100
            parts.append(
                f"<tr><td class='l'>{text(score['label'])}</td><td class='n'>{score['value']:.3g}</td><td><div class='bar'><i "
                f"style='width:{width:.1f}%'></i></div></td><td>{text(score['kind'])}; {text(score['derivation'])}</td></tr>"
            )
        parts.append("</table></section>")
    return "".join(parts)


def similar_page(content: StudyContent, found: dict[str, Any]) -> str:
    """The studies most similar to one as a page."""
    title = html.escape(f"Studies like {study_title(content.tags) or 'this one'}")
    rows = [
        f"<tr><td class='n'>{one['similarity']:.3f}</td><td>{study_link(one)}</td>"
        f"<td>{html.escape(' '.join(one['modalities'] + one['body_parts']))}</td></tr>"
        for one in found["similar"]
    ]
    head = "<tr><th>Similarity</th><th>Study</th><th></th></tr>"
    table = f"<table>{head}{''.join(rows)}</table>" if rows else "Nothing similar was found."
    notice = html.escape(found["notice"])
    return f"{PAGE}<h1>{title}</h1><div class='notice'>{notice}</div><section>{table}</section></main></html>"


def search_page(values: dict[str, str], found: dict[str, Any] | None) -> str:
    """A form to search by words and, where it was sent, the frames found, as a page."""
    text = html.escape(values.get("text", ""), quote=True)
    options = "".join(
        f"<option value='{level}'{' selected' if values.get('level') == level else ''}>{words}</option>"
        for level, words in LEVELS.items()
    )
    parts = [
        f"{PAGE}<h1>Search by words</h1><section><form><input type='hidden' name='format' value='html'>"
        f"<input name='text' value='{text}' placeholder='such as: a chest radiograph with an effusion' autofocus>"
        f"<select name='level'>{options}</select><button>Search</button></form></section>"
    ]
    if found is not None:
        parts.append(f"<div class='notice'>{html.escape(found['notice'])}</div><section><table>")
        parts += [found_row(one) for one in found["found"]]
        note = "Neighbouring frames of one series are thinned out, so the order is not by similarity alone."
        parts.append(f"</table><p class='faint'>{note if found['found'] else 'Nothing was found.'}</p></section>")
    return "".join([*parts, "</main></html>"])


def found_row(one: dict[str, Any]) -> str:
    """A frame that was found as a row of a table, with its picture where Orthanc holds it."""
    picture = ""
    if one["instance"]:
        page = f"../app/explorer.html#instance?uuid={one['instance']}"
        preview = f"../instances/{one['instance']}/frames/{int(one['frame']) - 1}/preview"
        picture = f"<a href='{page}'><img class='thumb' src='{preview}' alt=''></a>"
    kind = " ".join(filter(None, (one["modality"], one["body_part"], one["view"])))
    return (
        f"<tr><td class='n'>{one['similarity']:.3f}</td><td style='width: 110px'>{picture}</td>"
        f"<td>{study_link(one, '../')}<div class='faint'>{html.escape(kind)}</div></td></tr>"
    )


def study_link(one: dict[str, Any], root: str = "../../../") -> str:
    """A study that was found, as a link to its page where Orthanc holds it. root: of Orthanc, from the page."""
    text = html.escape(one["description"] or "study without description")
    if not one["study"]:
        return f"{text} (not in this Orthanc)"
    return f"<a href='{root}app/explorer.html#study?uuid={one['study']}'>{text}</a>"


def item_html(item: dict[str, Any]) -> str:
    """A content item and all items below it as list items."""
    kind, name = item.get("ValueType", ""), concept(item)[1]
    if kind == "NUM":
        value = item["MeasuredValueSequence"][0]["NumericValue"]
    elif kind == "CODE":
        value = concept(item, "ConceptCodeSequence")[1]
    elif kind == "IMAGE":
        value = (item.get("ReferencedSOPSequence") or [{}])[0].get("ReferencedSOPInstanceUID", "")
    else:
        value = item.get("TextValue") or item.get("UID") or ""
    line = html.escape(": ".join(part for part in (name or kind.capitalize(), str(value)) if part))
    below = "".join(item_html(child) for child in item.get("ContentSequence") or ())
    if kind == "CONTAINER":
        return f"<li><details><summary>{line}</summary><ul>{below}</ul></details></li>"
    return f"<li>{line}<ul>{below}</ul></li>" if below else f"<li>{line}</li>"
