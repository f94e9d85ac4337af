"""Lists for a person: the list of studies says of each what its own account says, and filters by it."""

import time
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import Received, announce
from dicom_pipeline.catalog.browsing.changes import LOOK_SECONDS, Changes
from dicom_pipeline.catalog.browsing.outbox_list import outbox_entries, outbox_entry, outbox_totals, study_entries
from dicom_pipeline.catalog.browsing.study_history import arrival, objects_of, unused_instances
from dicom_pipeline.catalog.browsing.study_list import StudyFilter, list_studies
from dicom_pipeline.catalog.outbox import (
    due_delivery,
    give_up_delivery,
    record_delivered,
    record_set_aside,
    retry_delivery,
)
from dicom_pipeline.catalog.revisions import claim_next, discard_study, fail, finish, hold_study, make_revision
from dicom_pipeline.catalog.studies import record_accession_number, study_account
from dicom_pipeline.domain import Account, Outcome, Reason
from dicom_pipeline.domain.life import DeliveryState, RevisionState, StudyState
from tests.peers.entries import SR, USED, MadeReport, record_instance
from tests.peers.programs import wait_until

STEPS = ("receive", "hold", "complete", "discard", "done", "no-image", "no-label", "fail", "announce")


def instance(study="1", number=1, at=100.0, sender="CT1", modality="CT") -> Received:
    sop = f"{study}.{number}"
    return Received(sop, sop, study, f"{study}.0", "1.2.3", "1.2.4", sop, 10, sender, "127.0.0.1", "t", at, modality)


def processed(catalog, outcomes, reports=(), at=300.0):
    """Process what is next in the queue."""
    claimed = claim_next(catalog, "w")
    account = Account(dict(zip(claimed.revision.instances, outcomes, strict=True)))
    finish(catalog, claimed, account, fingerprint="f", reports=reports, at=at)


def step(catalog, name, study, number):
    """One thing that may happen to a study; nothing where it may not."""
    if name == "announce":
        announce(catalog, study, 5, float(number))
    elif name == "receive":
        record_instance(catalog, instance(study, number, float(number)))
    elif name == "hold":
        hold_study(catalog, study)
    elif name == "complete":
        make_revision(catalog, study, float(number), "quiet")
    elif name == "discard":
        discard_study(catalog, study, float(number), "hard-cap", "r")
    elif (claimed := claim_next(catalog, "w")) is None:
        return
    elif name == "fail":
        fail(catalog, claimed, Reason.CRASHED_WORKER, "it crashed", 1.0)
    else:
        outcome = (Outcome.EXCLUDED, Reason.LOCALIZER, "") if name == "no-image" else USED
        uid = f"2.25.{claimed.revision_id}"
        reports = [MadeReport(uid, SR, f"{uid}.dcm", "ff", ("pacs",))] if name == "done" else []
        account = Account(dict.fromkeys(claimed.revision.instances, outcome))
        finish(catalog, claimed, account, fingerprint="f", reports=reports, at=1.0)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("123")), max_size=25))
def test_the_list_says_of_each_study_what_its_account_says(tmp_path_factory, steps):
    catalog = Catalog(tmp_path_factory.mktemp("list") / "catalog.sqlite")
    try:
        for number, (name, study) in enumerate(steps):
            step(catalog, name, study, number)
        lines = list_studies(catalog, StudyFilter(), 100)
        assert [line.last_at for line in lines] == sorted((line.last_at for line in lines), reverse=True)
        for line in lines:
            account = study_account(catalog, line.study_instance_uid)
            last = account["revisions"][-1] if account["revisions"] else None
            assert line.state == account["state"]
            assert (line.received, line.expected) == (account["received"], account["expected"])
            assert line.revision == (last and last["number"])
            counts = (line.used, line.excluded, line.failed)
            ended = last and not last["open"]
            assert counts == (
                tuple(last[name] for name in ("used", "excluded", "failed")) if ended else (None, None, None)
            )
            assert sum(line.deliveries.values()) == (len(last["deliveries"]) if last else 0)
        for state in (*StudyState, *RevisionState):
            found = list_studies(catalog, StudyFilter(states=(state,)), 100)
            assert found == [line for line in lines if line.state is state]
    finally:
        catalog.close()


def test_studies_are_found_by_uid_accession_number_sender_and_time(catalog):
    for number, (uid, sender, at) in enumerate(
        [("1.25.7", "CT1", 100.0), ("1.26.8", "MR_2", 200.0), ("9", "CT1", 300.0)]
    ):
        record_instance(catalog, instance(uid, 1, at, sender))
        record_accession_number(catalog, uid, f"A%{number}_x")

    def found(**asked):
        return [line.study_instance_uid for line in list_studies(catalog, StudyFilter(**asked), 10)]

    assert found(text="1.2") == ["1.26.8", "1.25.7"]
    assert found(text="ct1") == ["9", "1.25.7"]
    assert found(text="a%1") == ["1.26.8"]
    assert found(text="%") == ["9", "1.26.8", "1.25.7"]
    assert found(text="A_") == []  # no wildcard: the text stands for itself
    assert found(text="' OR 1=1 --") == []
    assert found(since=150.0, until=250.0) == ["1.26.8"]
    assert found(since=150.0, until=200.0) == []
    assert found(text="ct1", states=(StudyState.RECEIVING,), since=200.0, until=400.0) == ["9"]


def test_pages_follow_one_another_without_a_gap(catalog):
    with catalog.transaction() as run:
        for n in range(25):
            run.execute("touch_study", study_instance_uid=f"1.{n}", at=float(n // 5))
    whole = [line.study_instance_uid for line in list_studies(catalog, StudyFilter(), 100)]
    pages = [list_studies(catalog, StudyFilter(), 7, skip) for skip in range(0, 28, 7)]
    assert [line.study_instance_uid for page in pages for line in page] == whole
    assert len(whole) == 25


def reported(catalog, study="1", destinations=("a", "b")):
    record_instance(catalog, instance(study, 1, 100.0))
    record_instance(catalog, instance(study, 2, 110.0))
    make_revision(catalog, study, 200.0, "quiet")
    report = MadeReport(f"2.25.{study}", SR, f"{study}.dcm", "ff", destinations)
    processed(catalog, [USED, (Outcome.EXCLUDED, Reason.LOCALIZER, "a scout")], [report])


def test_what_a_study_went_through(catalog):
    reported(catalog)
    assert arrival(catalog, "1") == (100.0, 110.0)
    assert arrival(catalog, "7") is None
    assert [(made.sop_instance_uid, made.number) for made in objects_of(catalog, "1")] == [("2.25.1", 1)]
    (unused,) = unused_instances(catalog, 1, 5)
    assert (unused.reason, unused.detail, unused.sop_instance_uid) == ("localizer", "a scout", "1.2")


def test_of_each_reason_only_some_instances_are_listed(catalog):
    for number in range(1, 10):
        record_instance(catalog, instance("1", number))
    make_revision(catalog, "1", 200.0, "quiet")
    scouts, captures = (Outcome.EXCLUDED, Reason.LOCALIZER, ""), (Outcome.EXCLUDED, Reason.SECONDARY_CAPTURE, "")
    processed(catalog, [*[scouts] * 6, *[captures] * 2, USED])
    found = unused_instances(catalog, 1, 3)
    assert [item.sop_instance_uid for item in found if item.reason == "localizer"] == ["1.1", "1.2", "1.3"]
    assert [item.sop_instance_uid for item in found if item.reason == "secondary-capture"] == ["1.7", "1.8"]
    assert len(found) == 5


def test_the_outbox_is_counted_and_listed(catalog):
    reported(catalog, "1")
    reported(catalog, "2")
    record_set_aside(catalog, due_delivery(catalog, "a", 400.0), status="0xA900", message="it refused", at=400.0)
    record_delivered(catalog, due_delivery(catalog, "b", 400.0), status="0x0000", message="", verified=True, at=410.0)
    totals = {(total.destination, total.state): (total.count, total.oldest_at) for total in outbox_totals(catalog)}
    assert totals == {
        ("a", DeliveryState.PENDING): (1, 300.0),
        ("a", DeliveryState.SET_ASIDE): (1, 300.0),
        ("b", DeliveryState.PENDING): (1, 300.0),
        ("b", DeliveryState.DELIVERED): (1, None),
    }
    (waits,) = outbox_entries(catalog, (DeliveryState.SET_ASIDE,), most=10)
    assert (waits.destination, waits.message, waits.attempts, waits.number) == ("a", "it refused", 1, 1)
    pending = outbox_entries(catalog, (DeliveryState.PENDING,), destination="a", most=10)
    assert [entry.study_instance_uid for entry in pending] == [{"1": "2", "2": "1"}[waits.study_instance_uid]]
    assert {entry.destination for entry in study_entries(catalog, "1", 10)} == {"a", "b"}
    assert len(study_entries(catalog, "1", 1)) == 1
    assert outbox_entry(catalog, waits.report_uid, "a") == waits
    assert outbox_entry(catalog, waits.report_uid, "c") is None


def test_one_delivery_is_retried_or_given_up_and_no_other(catalog):
    reported(catalog, "1")
    reported(catalog, "2")
    for at in (400.0, 401.0):
        record_set_aside(catalog, due_delivery(catalog, "a", at), status="", message="no", at=at)

    def states():
        every = outbox_entries(catalog, tuple(DeliveryState), destination="a", most=10)
        return {entry.report_uid: entry.state.value for entry in every}

    assert retry_delivery(catalog, "2.25.1", "a", 500.0)
    assert states() == {"2.25.1": "pending", "2.25.2": "set-aside"}
    assert not retry_delivery(catalog, "2.25.1", "a", 500.0)  # it is pending already
    assert give_up_delivery(catalog, "2.25.2", "a", 510.0)
    assert give_up_delivery(catalog, "2.25.1", "a", 511.0)
    assert states() == {"2.25.1": "given-up", "2.25.2": "given-up"}
    assert not give_up_delivery(catalog, "2.25.2", "a", 520.0)
    assert retry_delivery(catalog, "2.25.2", "a", 530.0)  # a person may think otherwise
    assert states() == {"2.25.1": "given-up", "2.25.2": "pending"}
    entry = outbox_entry(catalog, "2.25.2", "a")
    assert (entry.attempts, entry.created_at, entry.next_at) == (0, 530.0, 530.0)
    record_delivered(catalog, due_delivery(catalog, "a", 600.0), status="", message="", verified=False, at=600.0)
    assert not give_up_delivery(catalog, "2.25.2", "a", 610.0)
    assert not retry_delivery(catalog, "2.25.2", "a", 610.0)


def test_a_commit_of_another_connection_is_noticed_while_somebody_watches(catalog):
    other, changes = Catalog(catalog.path), Changes(catalog)
    begun = changes.count
    with changes.watched():
        wait_until(lambda: changes.count == begun + 2, 20, "no first look")  # it began, and looked
        time.sleep(3 * LOOK_SECONDS)
        assert changes.count == begun + 2  # nothing was committed
        before = changes.count
        record_instance(other, instance())
        wait_until(lambda: changes.count != before, 20, "the commit was not noticed")
    record_instance(other, replace(instance(), sop_instance_uid="1.9", sha256="b"))
    unwatched = changes.count
    with changes.watched():
        assert changes.count != unwatched  # whoever begins to watch looks at once
    other.close()
