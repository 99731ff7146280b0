"""The live feed."""

from mailsvc.feed import MAX_BEHIND, Feed, Item


async def test_a_listener_hears_what_is_said_while_it_listens() -> None:
    feed = Feed()
    feed.say("mail", "1", status="queued")

    with feed.listen() as news:
        feed.say("mail", "1", status="sent")
        feed.say("provider", "smtp", state="benched")
    feed.say("mail", "1", status="delivered")

    assert [news.get_nowait() for _ in range(2)] == [
        Item("mail", "1", {"status": "sent"}),
        Item("provider", "smtp", {"state": "benched"}),
    ]
    assert news.empty()


async def test_a_listener_to_one_subject_hears_of_nothing_else() -> None:
    feed = Feed()

    with feed.listen("1") as news:
        feed.say("mail", "2")
        feed.say("mail", "1")

    assert news.get_nowait().subject == "1"
    assert news.empty()


async def test_a_slow_listener_loses_the_oldest_and_stops_nobody() -> None:
    feed = Feed()

    with feed.listen() as news:
        for number in range(MAX_BEHIND + 5):
            feed.say("mail", str(number))

    assert news.qsize() == MAX_BEHIND
    assert news.get_nowait().subject == "5"
