"""What a provider of the virtual world answers."""

import random

import pytest

from mailsvc.selector import Verdict
from mailsvc.simulate.scenarios import ProviderScript
from mailsvc.simulate.virtual import VirtualProvider


def fault(kind, **changes):
    return {"faults": [{"from": 0, "to": 100_000, "kind": kind, **changes}]}


def replies(a, mails=300, in_flight=0, poison=False, step=0.1):
    provider = VirtualProvider(ProviderScript.model_validate({"base": 50, **a}), 15.0, random.Random(3))
    return [provider.reply(number * step, in_flight, poison) for number in range(mails)]


@pytest.mark.parametrize(
    ("kind", "verdict", "latency"),
    [
        ("server", Verdict.SERVER_ERROR, 0.1),
        ("network", Verdict.UNREACHABLE, 0.1),
        ("timeout", Verdict.UNANSWERED, 15.0),
        ("auth", Verdict.UNAUTHORIZED, 0.1),
        ("reject", Verdict.REFUSED, 0.1),
        ("rate", Verdict.RATE_LIMITED, 0.1),
    ],
)
def test_each_kind_of_fault_has_its_answer(kind, verdict, latency):
    assert {(reply.verdict, reply.latency) for reply in replies(fault(kind))} == {(verdict, latency)}


def test_a_fault_may_have_a_latency_of_its_own():
    assert {reply.latency for reply in replies(fault("timeout", latency=3))} == {3}


def test_a_fault_strikes_with_its_probability_and_within_its_window():
    found = replies({"faults": [{"from": 10, "to": 20, "kind": "server", "probability": 0.5}]}, mails=3000, step=0.01)
    failed = [number / 100 for number, reply in enumerate(found) if reply.verdict is Verdict.SERVER_ERROR]

    assert 430 < len(failed) < 570
    assert 10 <= min(failed) <= max(failed) < 20


def test_a_fault_may_drift():
    found = replies(
        {"faults": [{"from": 0, "to": 100, "kind": "server", "probability": 0, "probability_to": 1, "slower_to": 30}]},
        mails=1000,
    )
    early, late = found[:300], found[700:]

    assert sum(reply.verdict is Verdict.OK for reply in early) > 3 * sum(reply.verdict is Verdict.OK for reply in late)
    slow = [reply.latency for reply in late if reply.verdict is Verdict.OK]
    assert sum(slow) / len(slow) > 5


def test_slowness_beyond_the_time_out_is_no_answer():
    verdicts = {reply.verdict for reply in replies(fault("slow", slower=60))}

    assert verdicts == {Verdict.OK, Verdict.UNANSWERED}


def test_healthy_latency_is_log_normal():
    latencies = sorted(reply.latency for reply in replies({}, mails=4000))

    assert latencies[2000] == pytest.approx(0.25, rel=0.05)
    assert latencies[3960] == pytest.approx(0.8, rel=0.15)


def test_nobody_takes_a_poison_mail():
    assert {reply.verdict for reply in replies({}, poison=True)} == {Verdict.REFUSED}


def test_a_limit_for_each_clock_minute_names_the_rest_of_the_minute():
    found = replies({"per_minute": 30}, mails=1300)

    assert [reply.verdict for reply in found[:31]] == [Verdict.OK] * 30 + [Verdict.RATE_LIMITED]
    assert found[30].retry_after == pytest.approx(57)
    assert found[600].verdict is Verdict.OK


def test_a_quota_is_used_up_until_its_time_and_names_none():
    found = replies({"quota": 50, "quota_until": 20})

    assert [reply.verdict for reply in found] == [Verdict.OK] * 50 + [Verdict.RATE_LIMITED] * 150 + [Verdict.OK] * 100
    assert found[60].retry_after is None


def test_a_bucket_takes_its_burst_and_then_its_rate():
    found = replies({"bucket": {"rate": 2, "burst": 5}}, mails=100)

    assert [reply.verdict for reply in found[:5]] == [Verdict.OK] * 5
    assert sum(reply.verdict is Verdict.OK for reply in found) == 5 + 19
    assert next(reply for reply in found if reply.verdict is Verdict.RATE_LIMITED).retry_after == 1


def test_a_bucket_does_not_fill_beyond_its_burst():
    provider = VirtualProvider(
        ProviderScript.model_validate({"base": 50, "bucket": {"rate": 2, "burst": 5}}), 15.0, random.Random(3)
    )
    found = [provider.reply(1000, 0, poison=False).verdict for _ in range(8)]

    assert found == [Verdict.OK] * 5 + [Verdict.RATE_LIMITED] * 3


def test_a_crowd_is_turned_away():
    crowd = {"max_in_flight": {"limit": 3, "from": 0, "to": 10, "latency": 0.5}}

    assert replies(crowd, mails=1, in_flight=2)[0].verdict is Verdict.OK
    assert replies(crowd, mails=1, in_flight=3)[0].verdict is Verdict.SERVER_ERROR
    assert replies(crowd, mails=200, in_flight=3)[150].verdict is Verdict.OK
