"""Settings of what is done with a study: planning, encoder, scores, report, embedding store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dicom_pipeline.config.fields import NameOrPath, NamesOrPaths, Section


class PlanningSection(Section):
    """Which frames are used and how they are rendered; the rule table in docs/selection.md has the defaults."""

    preset: str | None = Field(None, description="One preset for every series, instead of the rule table's choice.")
    selection: str | None = Field(None, description='One selection SPEC for every series, such as "uniform:32".')
    rules_file: Path | None = Field(None, description="A rule table of your own (TOML) in place of the shipped one.")
    keep: tuple[str, ...] = Field(
        (),
        description='Reasons for which nothing is left out, such as ["adc-map"]; docs/selection.md lists them. Maps are left '
        "out by default because their grey values are numbers, which no model was trained on.",
    )


class RenderingSection(Section):
    """The processes that decode and render ahead of the encoder; a decoder that crashes or loops ends one of them."""

    processes: int | None = Field(
        None, ge=1, le=256, description="How many; unset: one for each core but one, which feeds the encoder."
    )
    frame_seconds: int = Field(
        30,
        ge=1,
        description="CPU time that one frame may take, decoding and rendering together; a CT slice takes some milliseconds.",
    )
    max_process_bytes: int = Field(
        2 * 1024**3, ge=256 * 1024**2, description="Memory that one of them may take beyond what it starts with."
    )


class EncoderSection(Section):
    """The model."""

    model: NameOrPath = Field(
        "phantom",
        description='Encoder: "phantom" (shipped, trained on drawings only), "google/medsiglip-448", or a folder.',
    )
    revision: str | None = Field(None, description="Git revision of a hub model; pin it for reproducible numbers.")
    device: str = Field("auto", description='"auto" is CUDA where there is one; or "cpu", "cuda", "cuda:1".')
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Number format of the model; auto: bfloat16 on a GPU or a CPU with units for it (AMX).",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Renderings at once, across studies; unset: 2 on a CPU, up to 64 on a GPU by the size of its memory.",
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of the model; unset leaves it to torch.")


class ScoringSection(Section):
    """Zero-shot label scores."""

    label_set: NameOrPath = Field(
        "phantom", description='Shipped label set (see `dicom-pipeline labels`), TOML file, or "none" for probes alone.'
    )
    label_sets: NamesOrPaths = Field(
        (),
        description="Several label sets in place of label_set: each scores the images that its conditions are met by. "
        "[[score]] in the rule table chooses sets for single series; see docs/label-sets.md.",
    )
    probes: tuple[Path, ...] = Field((), description="Folders of fitted probes (see docs/probes.md) that score too.")
    derivation: Literal["max", "mean", "top-k-mean"] = Field(
        "max", description="How frame scores become a series score; max suits findings that few slices show."
    )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The label sets of series that no score rule takes, by name or path."""
        return self.label_sets or (self.label_set,)


class ReportSection(Section):
    """The Structured Report."""

    sop_class: Literal["comprehensive-3d", "comprehensive", "enhanced"] = Field(
        "comprehensive-3d", description="SR class to make; a DICOM node that does not take it gets the next simpler."
    )
    key_frames: int = Field(3, ge=0, le=20, description="Frames with the highest scores that get a group of their own.")
    companions: tuple[Literal["key-image", "key-objects", "embeddings", "pdf"], ...] = Field(
        (), description="Objects to send beside the report; see docs/report.md."
    )


class ResultsSection(Section):
    """The files that are written of each study, and by exports."""

    escape_formulas: bool = Field(
        True,
        description="In CSV, an apostrophe before each text that a spreadsheet would run as a formula; docs/outputs.md.",
    )


class StoreSection(Section):
    """The embedding store for research."""

    write: bool = Field(True, description="Write embeddings and scores to the store, once a revision.")
    place: str = Field(
        "store", description="Folder, relative to the spool's, or a URL such as s3://bucket/path (LanceDB)."
    )
    compact_every: int = Field(
        100, ge=1, description="Least number of studies written between two compactions of the store."
    )
    keep_versions_hours: float = Field(
        24.0, ge=0, description="Hours for which replaced and removed rows stay on the disk, for readers under way."
    )
    index_rows: int = Field(
        100_000,
        ge=1,
        description="Rows from which on `store compact` builds a vector index; with fewer, search is exact without.",
    )
    pseudonym_key: Path = Field(
        Path("pseudonyms.key"), description="File with the secret key of exports; made when first needed. Keep it safe."
    )
    viewers: tuple[str, ...] = Field(
        (), description='Links in search results, such as "OHIF=http://host/viewer?StudyInstanceUIDs={study}".'
    )
