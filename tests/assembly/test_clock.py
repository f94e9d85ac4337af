"""The machine's clock is set while studies gather: none is complete too early, none waits until the old time comes again."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.assembly.ages import Ages
from dicom_pipeline.assembly.completion import AtCap, CompletionRule, Decision, decide
from dicom_pipeline.catalog.revisions import WaitingStudy

QUIET, CAP = 20.0, 600.0
RULE = CompletionRule(QUIET, CAP)


class World:
    """A study, seconds that really pass, and a clock that can be set."""

    def __init__(self, clock: float) -> None:
        self.offset = clock
        self.passed = 0.0
        self.rule = RULE
        self.ages = Ages(lambda _: self.rule)
        self.study: WaitingStudy | None = None

    def arrive(self, **state) -> None:
        now = self.passed + self.offset
        first = self.study.first_at if self.study else now
        received = self.study.received + 1 if self.study else 1
        self.study = WaitingStudy("1.2", first, now, None, received, state.get("open_association", False), False)

    def look(self) -> Decision:
        now = self.passed + self.offset
        (study,) = self.ages.apply([self.study], now, self.passed + 5000)
        return decide(study, self.rule, now)

    def wait(self, seconds: float) -> list[Decision]:
        """Look four times a second, as the service does."""
        seen = []
        for _ in range(int(seconds * 4)):
            self.passed += 0.25
            seen.append(self.look())
        return seen


jumps = st.one_of(st.floats(-1e9, 1e9), st.sampled_from([0.0, 3600.0, -3600.0, 25.0, -25.0]))


@given(jumps, st.integers(0, 70), st.booleans())
def test_a_jump_of_the_clock_makes_a_study_complete_neither_sooner_nor_later(jump, ticks, before_first_look):
    world = World(1.7e9)
    world.ages.apply([], 1.7e9, 5000)  # the service had been running
    world.arrive()
    if not before_first_look:
        world.look()
        assert set(world.wait(ticks / 4)) <= {Decision.WAIT}
    world.offset += jump
    waited = 0.0 if before_first_look else ticks / 4
    assert set(world.wait(QUIET - waited - 0.5)) <= {Decision.WAIT}
    assert world.wait(1.0)[-1] is Decision.QUIET


@given(jumps)
def test_the_hard_cap_does_not_jump_either(jump):
    world = World(1.7e9)
    world.arrive(open_association=True)
    world.look()
    world.offset += jump
    assert set(world.wait(CAP - 0.5)) == {Decision.WAIT}
    assert world.wait(1.0)[-1] is Decision.HARD_CAP


def test_a_new_instance_begins_the_quiet_time_anew_even_with_an_earlier_time():
    world = World(1.7e9)
    world.arrive()
    world.look()
    world.wait(15)
    world.offset -= 3600
    world.arrive()
    assert set(world.wait(QUIET - 0.5)) == {Decision.WAIT}
    assert world.wait(1.0)[-1] is Decision.QUIET


@given(jumps)
def test_after_a_restart_a_study_waits_its_quiet_time_and_no_longer(jump):
    before = World(1.7e9)
    before.arrive()
    after = World(1.7e9 + jump)
    after.study = before.study
    after.look()
    assert set(after.wait(QUIET - 0.5)) == {Decision.WAIT}
    assert after.wait(1.0)[-1] is not Decision.WAIT


def test_after_a_restart_the_hard_cap_goes_on():
    world = World(1.7e9)
    world.study = WaitingStudy("1.2", 1.7e9 - 500, 1.7e9 - 1, None, 1, True, False)
    world.look()
    assert world.wait(101)[-1] is Decision.HARD_CAP


@given(jumps, st.sampled_from(AtCap))
def test_after_a_long_stop_a_study_that_is_complete_is_neither_held_nor_discarded(jump, at_cap):
    """Its cap passed while the service stood still, in which nothing could come."""
    world = World(1.7e9 + jump)
    world.study = WaitingStudy("1.2", 1.7e9 - 90_000, 1.7e9 - 89_000, None, 3, False, False)
    world.rule = replace(RULE, at_hard_cap=at_cap)
    assert set(world.wait(QUIET - 0.5)) <= {Decision.WAIT}
    assert world.wait(1.0)[-1] is Decision.QUIET
