"""SELECT: which frames of a study are used, how each is rendered, and the reason for everything else.

headers (read without pixels), scan (files and folders), inputs (studies to process), recognition (what an image is), geometry
(frames in space), stacks (their order), rules (the table in data/rules.toml), candidates (series that could be used),
series_choice, stack_choice, selection (SPEC and strategies), traits (what labels apply by), plan.
"""

from dicom_pipeline.planning.headers import Header, read_header
from dicom_pipeline.planning.inputs import StudyInput, entered_headers, study_inputs, study_inputs_of
from dicom_pipeline.planning.plan import account_of, plan_study
from dicom_pipeline.planning.rules import Rules, default_rules, load_rules, rules_from
from dicom_pipeline.planning.scan import Scan, digest_file, scan
from dicom_pipeline.planning.selection import parse_selection

__all__ = [
    "Header",
    "Rules",
    "Scan",
    "StudyInput",
    "account_of",
    "default_rules",
    "digest_file",
    "entered_headers",
    "load_rules",
    "parse_selection",
    "plan_study",
    "read_header",
    "rules_from",
    "scan",
    "study_inputs",
    "study_inputs_of",
]
