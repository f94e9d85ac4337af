"""Whatever happens to a study in whatever order, its files go only when all is delivered, and the catalog tells no lie."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dicom_pipeline.assembly.retention import RetentionRule, clean
from dicom_pipeline.catalog.outbox import due_delivery, record_set_aside, retry_set_aside
from dicom_pipeline.catalog.retention import begin_removal
from dicom_pipeline.catalog.revisions import ask_revision, make_revision, waiting_studies
from dicom_pipeline.errors import FilesCleanedError
from dicom_pipeline.intake.receipt import UploadResult
from tests.assembly.test_retention import LATER, Kept

numbers = st.integers(0, 2)


class OneStudy(RuleBasedStateMachine):
    """A study that is sent, sent again, processed, delivered, set aside and cleaned, and a model of what must be."""

    def __init__(self):
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.kept = Kept(Path(self.place.name)).delivered(2)
        self.known = {0, 1}
        self.there = {0, 1}
        self.gathers = self.ready = False
        self.pending = self.set_aside = 0

    def teardown(self):
        self.kept.catalog.close()
        self.place.cleanup()

    @property
    def may_go(self) -> bool:
        return not (self.gathers or self.ready or self.pending or self.set_aside)

    @rule(number=numbers)
    def send(self, number):
        taken = self.kept.take(number)
        assert taken is (UploadResult.DUPLICATE if number in self.known else UploadResult.NEW)
        self.gathers |= number not in self.known
        self.known.add(number)
        self.there.add(number)

    @precondition(lambda self: self.gathers and not self.ready and self.there == self.known)
    @rule()
    def complete(self):
        make_revision(self.kept.catalog, self.kept.study, 500.0, "quiet")
        self.gathers, self.ready = False, True

    @precondition(lambda self: not self.ready)
    @rule()
    def ask(self):
        try:
            assert ask_revision(self.kept.catalog, self.kept.study, 500.0)
            assert self.there == self.known
        except FilesCleanedError:
            assert self.there != self.known
            return
        self.gathers, self.ready = False, True

    @precondition(lambda self: self.ready)
    @rule()
    def process(self):
        self.kept.process()
        self.ready, self.pending = False, self.pending + 1

    @precondition(lambda self: self.pending)
    @rule()
    def deliver(self):
        self.kept.deliver()
        self.pending -= 1

    @precondition(lambda self: self.pending)
    @rule()
    def refuse(self):
        due = due_delivery(self.kept.catalog, "pacs", LATER)
        record_set_aside(self.kept.catalog, due, status="", message="", at=700.0)
        self.pending, self.set_aside = self.pending - 1, self.set_aside + 1

    @precondition(lambda self: self.set_aside)
    @rule()
    def retry(self):
        retry_set_aside(self.kept.catalog, 800.0)
        self.pending, self.set_aside = self.pending + self.set_aside, 0

    @rule()
    def clean(self):
        cleaned = clean(self.kept.catalog, RetentionRule(0, 0), LATER)
        assert cleaned.instances == (len(self.there) if self.may_go else 0)
        if self.may_go:
            self.there = set()

    @rule(number=numbers)
    def killed_while_cleaning(self, number):
        """Marked, then nothing; one instance may come again before the next run."""
        begin_removal(self.kept.catalog, self.kept.study, 900.0)
        if self.may_go:
            self.there = set()
        if number in self.known:
            self.send(number)
        clean(self.kept.catalog, RetentionRule(), LATER)

    @invariant()
    def no_lie(self):
        assert self.kept.lies() == []
        assert self.kept.files() == len(self.there)
        waiting = waiting_studies(self.kept.catalog)
        assert bool(waiting) == self.gathers
        assert not waiting or waiting[0].removed == len(self.known) - len(self.there)


OneStudy.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestOneStudy = OneStudy.TestCase
