"""The life of a study, a revision, a delivery and a request for Storage Commitment: states, and how one follows another.

    study        announced -> receiving -> complete          held: at the hard cap, by a rule, until a person releases it
    revision     ready <-> processing -> done | no-label | no-image | failed;  ready -> failed | discarded
    delivery     pending -> delivered | set-aside | given-up;  a person makes the last two pending again
    commitment   pending -> committed | failed | given-up;  an answer that comes late still counts

The catalog stores the values, pages show the sentences, and each change of a state in the catalog names where it may come
from by `sources`. docs/service.md draws the same arrows; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class State(StrEnum):
    """A state: its value is what the catalog stores, `sentence` says it to a person."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        """A member is its value; the sentence rides along."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    @classmethod
    def of(cls, value: str) -> Self:
        """The member of a stored value. Raises ValueError for one that there is not."""
        found = next((member for member in cls if member.value == value), None)
        if found is None:
            raise ValueError(f"{value!r} is not a {cls.__name__}; expected one of {', '.join(cls)}")
        return found


class StudyState(State):
    """Where a study stands that is being received."""

    ANNOUNCED = "announced", "a count of instances was announced; none has come yet"
    RECEIVING = "receiving", "instances have come that no revision holds yet"
    HELD = "held", "incomplete at the hard cap; a person must release it"
    COMPLETE = "complete", "all of its instances are in a revision"


class RevisionState(State):
    """Where a revision stands."""

    READY = "ready", "complete; waits for the worker"
    PROCESSING = "processing", "the worker has claimed it"
    DONE = "done", "processed; its report is made"
    NO_LABEL = "no-label", "processed; no label applies to any of its used images, so there is no report"
    NO_IMAGE = "no-image", "processed; no image of it could be used, so there is no report"
    FAILED = "failed", "could not be processed; its message says why"
    DISCARDED = "discarded", "was not complete in time, and a completion rule discards such studies"

    @classmethod
    def processed(cls, *, reported: bool, used: int) -> RevisionState:
        """The last state of a revision that was processed. used: how many of its instances were."""
        return cls.DONE if reported else cls.NO_LABEL if used else cls.NO_IMAGE


class DeliveryState(State):
    """Where the delivery of one object to one destination stands."""

    PENDING = "pending", "is sent when its time has come"
    DELIVERED = "delivered", "the destination has it"
    SET_ASIDE = "set-aside", "trying again would change nothing; a person must look at it"
    GIVEN_UP = "given-up", "a person decided that it will not be sent"


class CommitmentState(State):
    """Where our request stands that a destination commits to keep a report (PS3.4 annex J)."""

    PENDING = "pending", "the destination is asked, or will be"
    COMMITTED = "committed", "the destination has committed to keep the report"
    FAILED = "failed", "the destination has not committed; the report is sent again"
    GIVEN_UP = "given-up", "no answer came in time; one that comes later still counts"


class AnswerState(State):
    """Where our answer to a sender's request for commitment stands."""

    PENDING = "pending", "the sender is told the result, or will be"
    ANSWERED = "answered", "the sender has the result"
    SET_ASIDE = "set-aside", "the sender cannot be told; it may ask again"
    SUPERSEDED = "superseded", "the sender asked again under the same Transaction UID"


@dataclass(frozen=True, slots=True)
class Arrow:
    """A transition that is allowed, and what causes it."""

    source: State
    target: State
    cause: str


ARROWS = (
    Arrow(StudyState.ANNOUNCED, StudyState.RECEIVING, "its first instance comes"),
    Arrow(
        StudyState.RECEIVING,
        StudyState.COMPLETE,
        "quiet, the announced count or the hard cap is reached, or someone asks",
    ),
    Arrow(StudyState.RECEIVING, StudyState.HELD, "the hard cap is reached and the rule says hold"),
    Arrow(StudyState.HELD, StudyState.COMPLETE, "a person releases it"),
    Arrow(StudyState.COMPLETE, StudyState.RECEIVING, "another instance comes"),
    Arrow(RevisionState.READY, RevisionState.PROCESSING, "the worker claims it"),
    Arrow(RevisionState.READY, RevisionState.FAILED, "the worker died with it service.max_attempts times"),
    Arrow(RevisionState.READY, RevisionState.DISCARDED, "the rule that ended the waiting says discard"),
    Arrow(RevisionState.PROCESSING, RevisionState.READY, "the worker died or was stopped"),
    Arrow(RevisionState.PROCESSING, RevisionState.DONE, "its report is made"),
    Arrow(RevisionState.PROCESSING, RevisionState.NO_LABEL, "no label applies to a used image"),
    Arrow(RevisionState.PROCESSING, RevisionState.NO_IMAGE, "no image could be used"),
    Arrow(RevisionState.PROCESSING, RevisionState.FAILED, "its report cannot be made"),
    Arrow(DeliveryState.PENDING, DeliveryState.PENDING, "an attempt failed; the next is later"),
    Arrow(DeliveryState.PENDING, DeliveryState.DELIVERED, "the destination has taken it"),
    Arrow(DeliveryState.PENDING, DeliveryState.SET_ASIDE, "the destination refuses it, or a week has passed"),
    Arrow(DeliveryState.PENDING, DeliveryState.GIVEN_UP, "a person gives it up"),
    Arrow(DeliveryState.DELIVERED, DeliveryState.PENDING, "the destination did not commit it"),
    Arrow(DeliveryState.SET_ASIDE, DeliveryState.PENDING, "a person lets it be tried again"),
    Arrow(DeliveryState.SET_ASIDE, DeliveryState.GIVEN_UP, "a person gives it up"),
    Arrow(DeliveryState.GIVEN_UP, DeliveryState.PENDING, "a person lets it be tried again"),
    Arrow(DeliveryState.GIVEN_UP, DeliveryState.DELIVERED, "an attempt under way when it was given up arrived"),
    Arrow(CommitmentState.PENDING, CommitmentState.PENDING, "it is asked again, or the report was sent again"),
    Arrow(CommitmentState.PENDING, CommitmentState.COMMITTED, "the destination commits"),
    Arrow(CommitmentState.PENDING, CommitmentState.FAILED, "the destination does not commit"),
    Arrow(CommitmentState.PENDING, CommitmentState.GIVEN_UP, "no answer came in a day"),
    Arrow(CommitmentState.COMMITTED, CommitmentState.PENDING, "the report was sent again"),
    Arrow(CommitmentState.FAILED, CommitmentState.PENDING, "the report was sent again"),
    Arrow(CommitmentState.GIVEN_UP, CommitmentState.PENDING, "the report was sent again"),
    Arrow(CommitmentState.GIVEN_UP, CommitmentState.COMMITTED, "the destination commits late"),
    Arrow(CommitmentState.GIVEN_UP, CommitmentState.FAILED, "the destination answers late that it does not commit"),
    Arrow(AnswerState.PENDING, AnswerState.PENDING, "the sender cannot be reached; tried again later"),
    Arrow(AnswerState.PENDING, AnswerState.ANSWERED, "the sender has taken the result"),
    Arrow(AnswerState.PENDING, AnswerState.SET_ASIDE, "there is no way to the sender, or a week has passed"),
    Arrow(AnswerState.PENDING, AnswerState.SUPERSEDED, "the sender asks again"),
    Arrow(AnswerState.ANSWERED, AnswerState.SUPERSEDED, "the sender asks again"),
    Arrow(AnswerState.SET_ASIDE, AnswerState.SUPERSEDED, "the sender asks again"),
)
"""Every transition that is allowed."""


def sources(state: State) -> tuple[State, ...]:
    """The states from which this one may be entered."""
    return tuple(arrow.source for arrow in ARROWS if arrow.target is state)
