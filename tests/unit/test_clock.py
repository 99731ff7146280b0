"""The clock of what waits: it follows the wall clock and never goes back."""

from pathlib import Path

from mailsvc.clock import PACE, SteadyClock
from mailsvc.model import Outcome, Status
from mailsvc.providers.base import Result
from tests.unit.world import START, world


class Hands:
    """A wall clock and a monotonic one, as a test turns them."""

    wall, monotonic = START, 1000.0

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def go(self, seconds: float, step: float = 0.0) -> None:
        """Time goes by, and somebody sets the wall clock."""
        self.wall += seconds + step
        self.monotonic += seconds


def test_it_is_the_wall_clock_as_long_as_nobody_sets_that() -> None:
    hands = Hands()
    clock = hands.clock()
    told = []
    for _ in range(100):
        hands.go(7.5)
        told.append(clock() - hands.wall)

    assert told == [0.0] * 100


def test_a_step_forward_is_followed_at_once() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.go(1, step=3600)

    assert clock() == hands.wall


def test_a_step_back_is_not_followed_and_the_wall_clock_catches_up() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.go(1, step=-3600)
    before, first = clock(), clock()
    hands.go(10)
    ahead = clock() - hands.wall
    while clock() > hands.wall:
        hands.go(60)
        assert clock() >= before
        before = clock()

    assert first == START + PACE
    assert abs(ahead - (3600 - 1.1)) < 0.001
    assert 35_000 < hands.monotonic - 1000 < 37_000  # ten times as long as the step


async def test_a_mail_that_is_due_does_not_wait_for_the_time_that_was_taken_back(tmp_path: Path) -> None:
    hands = Hands()
    clock = hands.clock()
    async with world(tmp_path, lambda name, mail: Result(Outcome.ACCEPTED)) as here:
        mail_id = await here.add()
        hands.go(1, step=-3600)
        here.drain = type(here.drain)(here.outbox, here.courier, 4, clock)
        late = [mail.id for mail in await here.outbox.claim(10, hands.wall, 60)]
        with here.feed.listen(mail_id) as news:
            here.drain.start()
            while not (await here.record(mail_id)).status.settled:
                await news.get()
        await here.drain.stop(1)
        record = await here.record(mail_id)

    assert late == []  # by the wall clock, its time would come in an hour
    assert record.status is Status.SENT
