"""How long studies have waited, by a clock that does not jump.

The catalog's times come from the machine's clock, which may be set forwards or backwards at any moment. A study must neither
be taken for quiet because of that, nor wait until the old time comes round again. So one process watches the waiting studies
and counts seconds of the monotonic clock since each one's last change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from dicom_pipeline.assembly.completion import CompletionRule
from dicom_pipeline.catalog.revisions import WaitingStudy


@dataclass(frozen=True, slots=True)
class _Seen:
    """A study as last seen, and on the monotonic clock when it began to gather and when it last changed."""

    first_at: float
    last: tuple[float, int]
    began: float
    changed: float


class Ages:
    """The ages of the waiting studies in one run of the service.

    What was waiting already when the run began counts as just changed: nothing tells how the clock was set in between. Its
    hard cap goes on from the time that the catalog has, but not before it could have been quiet.
    rule_of: the completion rule of a study.
    """

    def __init__(self, rule_of: Callable[[WaitingStudy], CompletionRule]) -> None:
        self._rule_of = rule_of
        self._seen: dict[str, _Seen] = {}
        self._looked = False

    def apply(self, studies: Iterable[WaitingStudy], now: float, monotonic: float) -> Sequence[WaitingStudy]:
        """The studies with `first_at` and `last_at` as if the clock that says `now` had never jumped."""
        seen: dict[str, _Seen] = {}
        aged = []
        for study in studies:
            last = (study.last_at, study.received)
            before = self._seen.get(study.study_instance_uid)
            if before is None and not self._looked:
                rule = self._rule_of(study)
                most = max(0.0, rule.hard_cap_seconds - rule.quiet_seconds)
                waited = min(max(0.0, now - study.first_at), most)
                entry = _Seen(study.first_at, last, monotonic - waited, monotonic)
            elif before is None or before.first_at != study.first_at:
                entry = _Seen(study.first_at, last, monotonic, monotonic)
            elif before.last != last:
                entry = replace(before, last=last, changed=monotonic)
            else:
                entry = before
            seen[study.study_instance_uid] = entry
            began, changed = now - (monotonic - entry.began), now - (monotonic - entry.changed)
            aged.append(replace(study, first_at=began, last_at=changed))
        self._seen, self._looked = seen, True
        return aged
