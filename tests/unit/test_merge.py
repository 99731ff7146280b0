"""What reports make of a mail, for any reports in any order."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mailsvc.merge import ORDER, Known, Merged, Person, Told, merge
from mailsvc.model import Outcome, Report, ReportType, Status

PEOPLE = ("ann@example.com", "bob@example.com", "cid@example.com")
NOBODY = "erased@erased.invalid"

REPORTS = st.lists(
    st.builds(
        Report,
        type=st.sampled_from(ReportType),
        at=st.just(1.0),
        provider=st.sampled_from(["alpha", "beta", "gamma"]),
        event=st.just("e"),
        provider_message_id=st.sampled_from(["1", "2", None]),
        recipient=st.sampled_from([*PEOPLE, "ANN@Example.com", "eve@example.com", None]),
        permanent=st.sampled_from([True, False, None]),
        detail=st.just("said"),
    ),
    max_size=8,
)
STATUSES = st.sampled_from([status for status in Status if status is not Status.SUPPRESSED])
OWN = st.sampled_from([None, None, Status.REJECTED, Status.SUPPRESSED])
TRIES = st.lists(
    st.tuples(st.sampled_from(["alpha", "beta"]), st.sampled_from([*Outcome, None])), min_size=1, max_size=3
)


@st.composite
def mails(draw: st.DrawFn) -> Known:
    """A mail that no report has come for."""
    number = draw(st.integers(1, 3))
    people = [Person(place, PEOPLE[place], draw(OWN)) for place in range(number)]
    tries = draw(TRIES)
    return Known(draw(STATUSES), people, tries, (), None, None, draw(st.booleans()), None, False, NOBODY)


def after(known: Known, reports: list[Report]) -> tuple[Known, Merged]:
    """The mail as it is read back when this was written down."""
    merged = merge(known, reports, 2.0)
    told = [
        Told(report.provider, report.provider_message_id, place.position, report.type, report.permanent)
        for report, place in zip(reports, merged.places, strict=True)
        if place is not None
    ]
    people = [replace(person, status=merged.people.get(person.position, person.status)) for person in known.people]
    changed = replace(
        known,
        status=merged.status,
        people=people,
        told=[*known.told, *told],
        provider=merged.provider,
        provider_message_id=merged.provider_message_id,
        error=merged.error,
        in_doubt=known.in_doubt and not told,
        doubled=known.doubled or merged.doubled,
    )
    return changed, merged


def words(known: Known) -> tuple[Status, ...]:
    """The mail's word and those of its recipients, as they are shown."""
    return known.status, *(person.status or known.status for person in known.people)


@given(mails(), REPORTS, st.randoms(use_true_random=False))
def test_neither_order_nor_number_nor_portions_of_reports_matter(
    known: Known, reports: list[Report], rng: object
) -> None:
    at_once, _ = after(known, reports)
    again = [*reports, *reports[: len(reports) // 2]]
    rng.shuffle(again)  # type: ignore[attr-defined]
    one_by_one = known
    for report in again:
        one_by_one, _ = after(one_by_one, [report])

    assert words(one_by_one) == words(at_once)
    assert one_by_one.doubled == at_once.doubled


@given(mails(), REPORTS)
def test_no_word_ever_goes_back(known: Known, reports: list[Report]) -> None:
    seen = [words(known)]
    for report in reports:
        known, _ = after(known, [report])
        seen.append(words(known))
    for told in zip(*seen, strict=True):
        ranks = [ORDER.index(word) for word in told if word in ORDER]
        assert ranks == sorted(ranks)


@given(mails(), REPORTS)
def test_a_report_that_counts_ends_every_wait(known: Known, reports: list[Report]) -> None:
    changed, merged = after(known, reports)

    if any(merged.places):
        assert changed.status in ORDER
    else:
        assert (changed.status, merged.people, list(merged.events)) == (known.status, {}, [])


@given(mails(), REPORTS)
def test_what_was_merged_says_nothing_new(known: Known, reports: list[Report]) -> None:
    changed, _ = after(known, reports)
    again, merged = after(changed, [])

    assert (again, merged.people, list(merged.events), merged.doubled) == (changed, {}, [], False)


def test_opens_are_shown_once_for_each_recipient() -> None:
    known = Known(
        Status.SENT,
        [Person(0, PEOPLE[0], None), Person(1, PEOPLE[1], None)],
        [("alpha", None)],
        (),
        None,
        None,
        False,
        None,
        False,
        NOBODY,
    )
    opened = Report(ReportType.OPENED, 1.0, "alpha", "e", recipient=PEOPLE[0])
    rows = [opened, opened, replace(opened, recipient=PEOPLE[1]), replace(opened, recipient=None)]
    changed, merged = after(known, rows)

    assert [event.recipient for event in merged.events] == [PEOPLE[0], PEOPLE[1], None]
    assert after(changed, [opened])[1].events == []
