"""The alert rules: expressions that parse, over metrics and label values that exist, each with what to do about it."""

import random
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import parser

from mailsvc.callback import Backlog
from mailsvc.metrics import UNSETTLED, Reading, Store, exposition
from mailsvc.model import Outcome, Resolution, Status
from mailsvc.outbox.base import Extent
from mailsvc.selector import Selector
from mailsvc.tally import Tally
from tests.deploy.programs import DEPLOY, ROOT

RULES = [rule for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
OF_PROMETHEUS = {"up"}
CODES = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/api.md").read_text()))


TRIES = {"delivered": 1, "failed": 1, "given_up": 1}


def shown() -> dict[str, set[str]]:
    """Every name in /metrics with the names of its labels."""
    tally = Tally()
    tally.refused["invalid"] += 1
    selector = Selector({"sendgrid": 50.0}, rng=random.Random(1))
    store = Store({}, {("sendgrid", None): 1}, Extent(None, 1, 1, 1), {"cb_1": Backlog(1, 0.0)})
    reading = Reading(0.0, {}, tally, {"accept": {1: 1}}, selector.snapshot(0.0), 0, store, TRIES)
    families = parser.text_string_to_metric_families(exposition(reading, "")[0].decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


METRICS = shown()
VALUES: dict[tuple[str, str], set[str]] = {
    ("mailsvc_attempts_total", "outcome"): {outcome.value for outcome in Outcome},
    ("mailsvc_mails", "status"): {status.value for status in Status},
    ("mailsvc_provider_state", "state"): {"open", "benched", "closed", "paused", "full"},
    ("mailsvc_refused_requests_total", "code"): CODES,
    ("mailsvc_callback_tries_total", "outcome"): set(TRIES),
    ("mailsvc_doubts", "resolution"): {UNSETTLED, *(each.value for each in Resolution)},
}


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """Every metric that an expression looks at."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if getattr(node, part, None) is not None:
            yield from selectors(getattr(node, part))
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_looks_at_what_mailsvc_shows(rule: dict[str, Any]) -> None:
    found = list(selectors(promql_parser.parse(rule["expr"])))

    assert found
    for selector in found:
        assert selector.name in METRICS.keys() | OF_PROMETHEUS
        for matcher in selector.matchers.matchers:
            if matcher.name == "job":
                continue
            assert matcher.name in METRICS[selector.name]
            assert set(matcher.value.split("|")) <= VALUES[selector.name, matcher.name]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_how_bad_it_is_and_where_it_is_written_what_to_do(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.*)$", (ROOT / page).read_text(), re.MULTILINE)

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_no_two_rules_have_one_name() -> None:
    names = [rule["alert"] for rule in RULES]

    assert len(set(names)) == len(names) > 10


def test_a_name_that_does_not_exist_is_caught() -> None:
    found = list(selectors(promql_parser.parse('max(rate(mailsvc_atempts_total{outcome="down"}[5m])) > 1')))

    assert [selector.name in METRICS for selector in found] == [False]
