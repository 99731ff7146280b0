"""The manifests: valid for Kubernetes, fitting together, and what they set starts mailsvc."""

import re
import shutil
import subprocess
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


def test_what_kustomize_makes_of_it_is_good_for_kubernetes_and_has_the_image_of_the_kustomization(
    tmp_path: Path,
) -> None:
    image = parsed("kustomization")["images"][0]
    made = list(yaml.safe_load_all(kustomized(DEPLOY / "k8s")))
    pods = [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Deployment"]
    for number, manifest in enumerate(made):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(manifest))
        assert "passed" in tool("kubernetes-validate", "--strict", path)

    assert sorted(each["kind"] for each in made) == ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service"]
    assert {each["metadata"]["labels"]["app.kubernetes.io/name"] for each in made} == {"mailsvc"}
    assert [box["image"] for pod in pods for box in pod["containers"]] == [f"{image['newName']}:{image['newTag']}"]


def test_kustomize_finds_a_fault(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "k8s", tmp_path / "k8s")
    (tmp_path / "k8s/service.yaml").unlink()
    with pytest.raises(AssertionError, match=r"service\.yaml"):
        kustomized(tmp_path / "k8s")


def kustomized(folder: Path) -> str:
    """What `kubectl apply -k` would send. The kubectl of Debian's own packages is too old for the file."""
    kubectl = shutil.which("kubectl")
    known = subprocess.run([kubectl, "version", "--client"], check=False, capture_output=True) if kubectl else None
    if kubectl is None or known is None or b"Kustomize Version: v5" not in known.stdout:
        pytest.skip("a kubectl with kustomize 5 is not installed, so kustomization.yaml WAS NOT BUILT")
    done = subprocess.run([kubectl, "kustomize", folder], check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
