"""The scores of the last quarter of an hour, for the chart on the page. In memory alone: it ends with the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

SPAN, EVERY = 900.0, 5.0  # seconds that are kept, and between two samples


class History:
    """Samples of all scores, oldest first. Times are Unix seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, float]]] = deque(maxlen=int(SPAN / EVERY) + 1)

    def note(self, at: float, scores: Mapping[str, float]) -> None:
        """Keep a sample if it is time for one. A clock that was set back is no reason to stop."""
        if not self._samples or not 0 <= at - self._samples[-1][0] < EVERY:
            self._samples.append((at, dict(scores)))

    def series(self) -> tuple[list[float], dict[str, list[float | None]]]:
        """The times, and for each provider its score at each of them; None where it was not configured."""
        names = dict.fromkeys(name for _, scores in self._samples for name in scores)
        return (
            [at for at, _ in self._samples],
            {name: [scores.get(name) for _, scores in self._samples] for name in names},
        )
