"""Tables of the objects that the pipeline makes, read from objects made for it: attributes, content trees and codes.

What no object can say of itself, the module of an attribute and where its value comes from, is in conformance_attributes.toml.
A name there that no object has, and an attribute without an entry there, are errors.
"""

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path

from conformance_objects import INPUTS, Inputs, made_objects
from pydicom import Dataset
from pydicom.datadict import dictionary_description
from pydicom.dataelem import DataElement
from pydicom.tag import Tag

from dicom_pipeline.reporting.codes import private_scheme

SOURCES = tomllib.loads((Path(__file__).resolve().parent / "conformance_attributes.toml").read_text(encoding="utf-8"))
CODES = tomllib.loads((resources.files("dicom_pipeline") / "data" / "codes.toml").read_text(encoding="utf-8"))
CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
PRIVATE_NAMES = {
    "00990010": "Private Creator",
    "00991001": "Description",
    "00991002": "Vectors",
    "00991003": "SHA-256",
}
KINDS = ("report", "key-image", "key-objects", "embeddings", "pdf")
OF_A_LABEL = {"S-": "Score for *label*", "T-": "Above threshold: *label*"}

Names = tuple[str, ...]
"""Where an attribute stands: the keywords of the sequences that hold it, then its own; of a content item likewise."""


@cache
def samples() -> dict[str, dict[str, list[Dataset]]]:
    """What was varied -> the objects by kind. "": nothing; "bare": images that state nothing but their UIDs."""
    made = {name: made_objects(replace(Inputs(), **{name: 1})) for name in INPUTS}
    return {"": made_objects(Inputs()), "bare": made_objects(Inputs(full=False)), **made}


@dataclass
class Seen:
    """What stands at one place of all objects of a kind. values: by what was varied. counts: how often, by parent."""

    elements: list[DataElement] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def constant(self) -> str | None:
        """The one value that it has everywhere, None where there are several."""
        found = {value for values in self.values.values() for value in values}
        return found.pop() if len(found) == 1 else None

    @property
    def depends(self) -> list[str]:
        """The inputs with which it changes."""
        return [name for name in INPUTS if self.values.get(name) != self.values.get("")]


@cache
def attributes(kind: str) -> tuple[dict[Names, Seen], Counter[Names]]:
    """What each place holds, in the order of tags, and how many items there are of each sequence."""
    seen: dict[Names, Seen] = {}
    items: Counter[Names] = Counter()

    def enter(dataset: Dataset, above: Names, varied: str) -> None:
        items[above] += 1
        for element in dataset:
            names = (*above, element.keyword or f"{element.tag:08X}")
            place = seen.setdefault(names, Seen())
            place.elements.append(element)
            if element.VR != "SQ":
                place.values[varied].append(_text(element))
            elif element.keyword != "ContentSequence":
                for item in element.value:
                    enter(item, names, varied)

    for varied, made in samples().items():
        for dataset in made[kind]:
            enter(dataset, (), varied)
    return seen, items


def _text(element: DataElement) -> str:
    if element.is_empty:
        return ""
    return "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)


def presence(kind: str, names: Names) -> str:
    """ALWAYS, VNAP (may be empty), ANAP (may be absent, within its item) or EMPTY."""
    seen, items = attributes(kind)
    found = seen[names].elements
    if len(found) < items[names[:-1]]:
        return "ANAP"
    empty = [element.is_empty for element in found]
    return "EMPTY" if all(empty) else "VNAP" if any(empty) else "ALWAYS"


def attribute_rows(kind: str) -> dict[str, list[str]]:
    """Keyword of each top-level attribute -> its row and those of what its items hold."""
    seen, _ = attributes(kind)
    rows: dict[str, list[str]] = defaultdict(list)
    folded: set[Names] = set()
    for names in sorted(seen, key=lambda names: _order(kind, names)):
        if names[:-1] in folded:
            continue
        place = seen[names]
        below = [other for other in seen if other[:-1] == names]
        depends, text = ", ".join(place.depends), _source(kind, names, place)
        if [name[-1] for name in below] == list(CODE) and all(seen[name].constant is not None for name in below):
            value, scheme, meaning = (seen[name].constant for name in below)
            folded.add(names)
            text = f'({value}, {scheme}, "{meaning}")'
        element = place.elements[0]
        tag = f"({element.tag.group:04X},{element.tag.elem:04X})"
        name = ">" * (len(names) - 1) + _name(names[-1])
        cells = (name, tag, element.VR, presence(kind, names), depends, text)
        rows[names[0]].append(f"| {' | '.join(cells)} |")
    return rows


def _order(kind: str, names: Names) -> tuple[int, ...]:
    seen, _ = attributes(kind)
    return tuple(int(seen[names[: n + 1]].elements[0].tag) for n in range(len(names)))


def _name(keyword: str) -> str:
    return PRIVATE_NAMES[keyword] if keyword in PRIVATE_NAMES else dictionary_description(Tag(keyword))


used: set[str] = set()
"""Entries of the file of sources that some row has taken."""


def _source(kind: str, names: Names, place: Seen) -> str:
    """Where a value comes from, in words of the file; the value itself where it is always the same."""
    key = ".".join(names)
    key = f"{kind}:{key}" if f"{kind}:{key}" in SOURCES["source"] else key
    return _stated("source", key, place, is_value=place.elements[0].VR != "SQ")


def _stated(table: str, key: str, place: Seen, *, is_value: bool) -> str:
    used.add(key)
    text = SOURCES[table].get(key, "")
    if text or not is_value:
        return text
    if place.constant is None or place.depends:
        raise KeyError(f"conformance_attributes.toml does not say where {key} comes from")
    return f"`{place.constant}`" if place.constant else ""


HEAD = ["| attribute | tag | VR | presence | changes with | value or source |", "| --- | --- | --- | --- | --- | --- |"]


def module_of(kind: str, keyword: str) -> str:
    """The module of a top-level attribute."""
    own, shared = ([name for name, members in group.items() if keyword in members] for group in _modules(kind))
    found = own or shared
    if len(found) != 1:
        raise KeyError(f"conformance_attributes.toml: {keyword} of {kind} is in {found or 'no module'}")
    return found[0]


def _modules(kind: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The modules that an object has by itself, and those that all have."""
    return SOURCES["of"][kind], SOURCES["module"]


def common() -> dict[str, list[str]]:
    """The rows that are the same in every object."""
    of_all = [attribute_rows(kind) for kind in KINDS]
    return {name: rows for name, rows in of_all[0].items() if all(other.get(name) == rows for other in of_all)}


def common_table() -> list[str]:
    return _by_module("report", common())


def object_table(kind: str) -> list[str]:
    """What an object has beside the common attributes."""
    shared = common()
    return _by_module(kind, {name: rows for name, rows in attribute_rows(kind).items() if name not in shared})


def _by_module(kind: str, rows: dict[str, list[str]]) -> list[str]:
    modules: dict[str, list[str]] = defaultdict(list)
    for name, lines in rows.items():
        modules[module_of(kind, name)] += lines
    order = [*SOURCES["module"], *SOURCES["of"][kind]]
    made = list(HEAD)
    for module in sorted(modules, key=order.index):
        made += [f"| **{module}** | | | | | |", *modules[module]]
    return made


@dataclass
class Node:
    """What stands at one place of a content tree. counts: by the parent item; several of one place count together."""

    place: Seen
    counts: Counter[int]
    template: str = ""


def nodes_of(kind: str) -> tuple[dict[Names, Node], dict[Names, set[int]]]:
    """Place -> content items there, in the order of the tree, and the items that each place has."""
    nodes: dict[Names, Node] = {}
    parents: dict[Names, set[int]] = defaultdict(set)

    def enter(item: Dataset, above: Names, parent: int, varied: str) -> None:
        names = (*above, _item_name(item))
        node = nodes.setdefault(names, Node(Seen(), Counter()))
        node.counts[parent] += 1
        parents[names].add(id(item))
        node.place.values[varied].append(_item_value(item))
        for template in item.get("ContentTemplateSequence") or ():
            node.template = f"TID {template.TemplateIdentifier}"
        for child in item.get("ContentSequence") or ():
            enter(child, names, id(item), varied)

    for varied, made in samples().items():
        for dataset in made[kind]:
            enter(dataset, (), 0, varied)
    return nodes, parents


def tree_table(kind: str) -> list[str]:
    """The content tree of a kind of object."""
    nodes, parents = nodes_of(kind)
    made = [
        "| content item | relationship | VT | number | template | changes with | value |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for names in _in_tree_order(list(nodes)):
        node = nodes[names]
        relationship, value_type, concept = names[-1].split("|")
        least = min((node.counts[parent] for parent in parents[names[:-1]]), default=1)
        most = "1" if max(node.counts.values()) == 1 or len(names) == 1 else "n"
        number = "1" if least and most == "1" else f"{min(least, 1)}-{most}"
        key = " > ".join(map(_short_name, names[-2:]))
        text = _stated("content", key, node.place, is_value=value_type not in ("CONTAINER", "IMAGE"))
        cells = (
            f"{'>' * (len(names) - 1)}{concept or 'no concept name'}",
            relationship.lower(),
            value_type,
            number,
            node.template,
            ", ".join(node.place.depends),
            text,
        )
        made.append(f"| {' | '.join(cells)} |")
    return made


def _in_tree_order(places: list[Names]) -> Iterator[Names]:
    """Depth first; places that one object has and another lacks follow their siblings."""

    def below(above: Names) -> Iterator[Names]:
        for names in places:
            if names[:-1] == above:
                yield names
                yield from below(names)

    return below(())


def _short_name(name: str) -> str:
    """Value type and code value of a content item."""
    _, value_type, concept = name.split("|")
    found = re.match(r"\(([^,]+?)(\.\.\.)?,", concept)
    return f"{value_type} {found[1]}" if found else value_type


def _item_name(item: Dataset) -> str:
    """Relationship, value type and concept of an item; concepts of labels as a pattern."""
    concept = coded(item.ConceptNameCodeSequence[0]) if item.get("ConceptNameCodeSequence") else ""
    return f"{item.get('RelationshipType', '')}|{item.ValueType}|{concept}"


def _item_value(item: Dataset) -> str:
    if item.ValueType in ("TEXT", "UIDREF"):
        return str(item.TextValue if item.ValueType == "TEXT" else item.UID)
    if item.ValueType == "CODE":
        return coded(item.ConceptCodeSequence[0])
    if item.ValueType == "NUM":
        return str(item.MeasuredValueSequence[0].NumericValue)
    if item.ValueType == "IMAGE":
        (image,) = item.ReferencedSOPSequence
        return f"{image.ReferencedSOPInstanceUID} {image.get('ReferencedFrameNumber', '')}"
    if item.ValueType == "SCOORD":
        return f"{item.GraphicType} {item.GraphicData}"
    return ""


def coded(code: Dataset) -> str:
    """A code as text, of a label as a pattern."""
    start, meaning = str(code.CodeValue)[:2], code.CodeMeaning
    if code.CodingSchemeDesignator == private_scheme() and start in OF_A_LABEL:
        return f"({start}..., {code.CodingSchemeDesignator}) {OF_A_LABEL[start]}"
    return f"({code.CodeValue}, {code.CodingSchemeDesignator}) {meaning}"


def codes_table() -> list[str]:
    """Every code in the objects but those that images or labels bring, with the places where it stands."""
    places: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    foreign = {"RequestedProcedureCodeSequence"}

    def enter(dataset: Dataset) -> None:
        for element in dataset:
            if element.VR != "SQ" or element.keyword in foreign:
                continue
            for item in element.value:
                if "CodeValue" in item:
                    places[str(item.CodingSchemeDesignator), str(item.CodeValue), str(item.CodeMeaning)].add(
                        _name(element.keyword)
                    )
                enter(item)

    for made in samples().values():
        for datasets in made.values():
            for dataset in datasets:
                enter(dataset)
    for table in ("method", "procedure"):
        for value, scheme, meaning in CODES[table].values():
            places[scheme, value, meaning].add(f"{table}s")
            places[scheme, value, meaning].discard("Concept Code Sequence")
    rows = []
    for (scheme, value, meaning), where in sorted(places.items()):
        of_a_label = scheme == private_scheme() and value[:2] in OF_A_LABEL
        if not of_a_label and (scheme, value) not in {tuple(code) for code in SOURCES["codes_of_labels"]}:
            rows.append(f"| {scheme} | {value} | {meaning} | {', '.join(sorted(where))} |")
    return ["| scheme | value | meaning | where |", "| --- | --- | --- | --- |", *rows]


def unused_entries() -> list[str]:
    """Entries of the file of sources that no object has. To be asked after all tables are made."""
    entries = {*SOURCES["source"], *SOURCES["content"]}
    members = {name for group in SOURCES["module"].values() for name in group}
    members |= {name for kind in SOURCES["of"].values() for group in kind.values() for name in group}
    made = {name for kind in KINDS for name in attribute_rows(kind)}
    return sorted(entries - used) + sorted(members - made)
