"""Whose turn it is: high before normal before low, and nobody for ever last."""

from __future__ import annotations

from collections import Counter, deque

from mailsvc.lanes import EMPTY, SHARE, Turns
from mailsvc.model import LANES, Mail, Priority
from tests.contract.samples import mail

HIGH, NORMAL, LOW = LANES


class Queue:
    """Mails that are due, as an outbox would give them, one slot at a time."""

    def __init__(self, **waiting: int) -> None:
        self.turns, self.now = Turns(), 100.0
        self.lanes = {lane: deque([mail(priority=lane)] * waiting.get(lane.value, 0)) for lane in LANES}
        self.claims = 0

    def take(self, room: int = 1) -> list[Priority]:
        """One filling of the room, as the drain does it; which lanes went."""
        taken: list[Mail] = []
        while len(taken) < room:
            wanted, order = self.turns.next(room - len(taken), self.now)
            claimed: list[Mail] = []
            for lane in order:
                while self.lanes[lane] and len(claimed) < wanted:
                    claimed.append(self.lanes[lane].popleft())
            self.claims += 1
            self.turns.taken(claimed, self.now)
            taken += claimed
            if order is LANES or not claimed:
                break
        return [each.priority for each in taken]


def test_a_high_mail_in_a_flood_of_low_is_next_whenever_it_comes() -> None:
    queue = Queue(low=1000)
    went = []
    for turn in range(300):
        if turn % 7 == 3:
            queue.lanes[HIGH].append(mail(priority=HIGH))
            went += queue.take()
        else:
            assert queue.take() == [LOW]

    assert set(went) == {HIGH}


def test_each_lane_gets_its_share_in_a_flood_of_all() -> None:
    queue = Queue(high=2000, normal=2000, low=2000)
    went = Counter(lane for _ in range(1000) for lane in queue.take())

    assert went[NORMAL] >= 1000 // (SHARE + 2) - 1
    assert went[LOW] >= 1000 // (SHARE + 2) - 1
    assert went[HIGH] > 850


def test_a_flood_that_fills_many_slots_at_a_time_leaves_a_share_too() -> None:
    queue = Queue(high=2000, low=100)
    went = Counter(lane for _ in range(10) for lane in queue.take(64))

    assert went[LOW] >= 9
    assert sum(went.values()) == 640


def test_an_empty_lane_costs_a_look_a_second_and_no_more() -> None:
    queue = Queue(normal=5000)
    while queue.now < 110.0:
        queue.take()
        queue.now += 0.01

    assert queue.claims <= 1000 + 2 * (10 / EMPTY + 1)
