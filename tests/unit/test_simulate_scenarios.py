import json

import pytest

from mailsvc.simulate.scenarios import BUILT_IN, Scenario, ScenarioError, built_in, load

SMALL = {"name": "mine", "duration": 60, "providers": {"A": {"base": 50}, "B": {"base": 40}}}


def written(tmp_path, content):
    path = tmp_path / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def faults(tmp_path, content):
    """What is said about a file that is not a scenario, without its first line."""
    with pytest.raises(ScenarioError) as caught:
        load(written(tmp_path, content))
    return str(caught.value).splitlines()[1:]


def changed(**changes):
    return {**SMALL, **changes}


def test_every_built_in_scenario_is_named_like_its_file_and_says_what_happens():
    files = {path.stem for path in BUILT_IN.glob("*.json")}

    assert set(built_in()) == files
    assert all(scenario.about for scenario in built_in().values())


def test_the_open_scenarios_are_there():
    names = "outage brownout sporadic drift flapping uniform5 uniform20 ratecap quota bothbad alldown burst dear blip"

    assert set(names.split()) | {"low", "verylow", "authfail", "heavytail", "poison"} <= set(built_in())


def test_a_file_with_every_key_is_read(tmp_path):
    text = """
    {"name": "outage", "duration": 900, "rate": 10, "max_in_flight": 200, "poison": 0.0,
     "arrivals": [{"at": 60, "count": 500, "spread": 1, "every": 120}],
     "providers": {"A": {"base": 50, "cost": 1, "median": 0.25, "sigma": 0.5,
                         "faults": [{"from": 200, "to": 500, "kind": "server", "probability": 1.0, "latency": 0.1,
                                     "probability_to": 0.3, "slower_to": 40}],
                         "per_minute": 300, "quota": 3000, "bucket": {"rate": 20, "burst": 40},
                         "max_in_flight": {"limit": 30, "from": 500, "to": 560, "latency": 0.5}},
                   "B": {"base": 40, "cost": 1.5}},
     "watch": {"provider": "A", "from": 200, "to": 500, "window": 10}}
    """
    scenario = load(written(tmp_path, text))

    assert scenario.bases == {"A": 50, "B": 40}
    assert scenario.providers["A"].faults[0].at(350) == (0.65, 20.5)
    assert scenario.mails == 9000 + 500 * 8


def test_what_is_left_out_has_a_default(tmp_path):
    scenario = load(written(tmp_path, SMALL))

    assert (scenario.rate, scenario.max_in_flight, scenario.timeout) == (10, 200, 15)
    assert (scenario.watched.provider, scenario.watched.from_, scenario.watched.to) == ("A", 0, 60)


def test_without_a_watch_the_preferred_provider_is_watched_over_all_of_its_faults():
    server = {"kind": "server"}
    providers = {"B": {"base": 40}, "A": {"base": 50, "faults": [{"from": 9, "to": 20, **server}]}}
    providers["A"]["faults"].append({"from": 30, "to": 400, **server})
    watched = Scenario.model_validate(changed(providers=providers)).watched

    assert (watched.provider, watched.from_, watched.to) == ("A", 9, 60)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "Input should be an object"),
        (changed(duration=0), "duration: Input should be greater than 0"),
        (changed(name="no way!"), "name: String should match pattern"),
        (changed(rate="many"), "rate: Input should be a valid number, unable to parse string as a number"),
        (changed(surprise=1), "surprise: Extra inputs are not permitted"),
        (changed(providers={}), "providers: Dictionary should have at least 1 item after validation, not 0"),
        (changed(providers={"A": {}}), "providers.A.base: Field required"),
        (changed(providers={"A": {"base": -1}}), "providers.A.base: Input should be greater than or equal to 0"),
        (
            changed(providers={"A": {"base": 1, "faults": [{"from": 1, "to": 2, "kind": "flood"}]}}),
            "providers.A.faults[0].kind: Input should be 'server', 'network', 'timeout', 'auth', 'reject', 'rate'",
        ),
        (
            changed(providers={"A": {"base": 1, "faults": [{"from": 9, "to": 2, "kind": "slow"}]}}),
            "providers.A.faults[0]: ends at 2, before it begins at 9",
        ),
        (changed(arrivals=[{"at": 1}]), "arrivals[0].count: Field required"),
        (changed(watch={"provider": "X", "from": 0, "to": 9}), "watch.provider: there is no provider 'X'"),
        (changed(watch={"provider": "A", "from": 0, "to": 99}), "watch.to: lies behind the end of the run at 60"),
        (changed(duration=600_000), "rate, duration, arrivals: 6,000,000 mails are more than 2,000,000"),
    ],
)
def test_each_fault_is_named_with_its_path_in_the_file(tmp_path, content, said):
    (line,) = faults(tmp_path, content)

    assert line.startswith(f"  - {said}")


def test_all_faults_are_named_at_once(tmp_path):
    assert len(faults(tmp_path, changed(duration=-1, providers={"A": {"cost": "dear"}}))) == 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere\.json: No such file"):
        load(tmp_path / "nowhere.json")
