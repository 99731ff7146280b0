"""The manifests: valid for Kubernetes, fitting together, and what they set starts mailsvc."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailsvc.config import Config
from tests.deploy.programs import DEPLOY, tool

MANIFESTS = {path.stem: path for path in sorted((DEPLOY / "k8s").glob("*.yaml"))}


def parsed(name: str) -> Any:
    return yaml.safe_load(MANIFESTS[name].read_text())


@pytest.mark.parametrize("name", sorted(MANIFESTS.keys() - {"kustomization"}))
def test_a_manifest_is_good_for_kubernetes(name: str) -> None:
    assert "passed" in tool("kubernetes-validate", "--strict", MANIFESTS[name])


def test_the_validator_of_manifests_finds_a_fault(tmp_path: Path) -> None:
    wrong = MANIFESTS["deployment"].read_text().replace("replicas: 2", "replica: 2")
    (tmp_path / "deployment.yaml").write_text(wrong)
    with pytest.raises(AssertionError, match="replica"):
        tool("kubernetes-validate", "--strict", tmp_path / "deployment.yaml")


def test_kustomize_takes_every_manifest_but_the_example() -> None:
    named = parsed("kustomization")["resources"]

    assert sorted(named) == [
        path.name for name, path in MANIFESTS.items() if name not in ("kustomization", "secret.example")
    ]


def test_the_manifests_fit_together() -> None:
    parts = {name: parsed(name) for name in MANIFESTS}
    pod = parts["deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]

    assert parts["deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert parts["service"]["spec"]["selector"] == parts["disruption"]["spec"]["selector"]["matchLabels"] == labels
    assert {source[kind]["name"] for source in container["envFrom"] for kind in source} == {"mailsvc"}
    assert parts["config"]["metadata"]["name"] == parts["secret.example"]["metadata"]["name"] == "mailsvc"
    assert container["ports"][0]["containerPort"] == int(parts["config"]["data"]["PORT"])
    assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")} == {"/healthz"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    user = re.search(r"^USER (\d+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert pod["spec"]["securityContext"]["runAsUser"] == int(user[1])
    # 25 seconds for deliveries, 3 to write down, after the pause before SIGTERM.
    assert pod["spec"]["terminationGracePeriodSeconds"] >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + 30


def test_the_settings_of_the_manifests_start_mailsvc() -> None:
    settings = parsed("config")["data"]
    secrets = parsed("secret.example")["stringData"]
    config = Config.from_environ(settings | secrets | {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})

    assert (config.host, config.port, config.notes) == ("0.0.0.0", 8080, ())
