"""A limit on how fast a source is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class RateLimiter:
    """Keeps to a rate in instances a second; None is no limit. sleep: so that a test needs no clock."""

    per_second: float | None = None
    sleep: Callable[[float], None] = time.sleep
    _next: float = field(default=0.0, init=False)

    def wait(self) -> None:
        """Wait until the next instance may be fetched."""
        if self.per_second is None:
            return
        now = time.monotonic()
        if self._next > now:
            self.sleep(self._next - now)
        self._next = max(self._next, now) + 1.0 / self.per_second
