"""compose.yaml: good by its schema, and what it sets starts mailsvc."""

import re

import yaml

from mailsvc.config import Config
from tests.deploy.programs import DEPLOY, tool

COMPOSE = DEPLOY / "compose.yaml"
SECRET = "secret-0123456789abcdef"


def test_compose_is_good_by_its_schema() -> None:
    assert "ok" in tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_compose_has_two_replicas_and_a_database_behind_nginx() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    written = services["mailsvc"]["environment"]
    settings = {name: re.sub(r"\$\{(\w+)[^}]*\}", SECRET, value) for name, value in written.items()}
    config = Config.from_environ(settings | {"PORT": "8080", "MAILSVC_CAPTURE": "1"})

    assert services["mailsvc"]["deploy"]["replicas"] == 2
    assert config.database_url == f"postgres://mailsvc:{SECRET}@database/mailsvc"
    assert (config.host, config.notes) == ("0.0.0.0", ())
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert (DEPLOY / services["mailsvc"]["build"]["context"] / services["mailsvc"]["build"]["dockerfile"]).is_file()
    for volume in services["nginx"]["volumes"]:
        assert (DEPLOY / volume.split(":")[0]).is_file()
