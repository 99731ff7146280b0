"""What all tests share. The only file that knows which plugin runs the asynchronous ones."""

import inspect
import os
import sys
import types

import pytest
from hypothesis import HealthCheck, settings
from packaging.version import Version

# pytest-tornado 0.8.1 imports pkg_resources, which setuptools dropped in version 82. All it wants of it is this.
pkg_resources = types.ModuleType("pkg_resources")
pkg_resources.parse_version = Version
sys.modules.setdefault("pkg_resources", pkg_resources)

# The same examples each time, however slow the machine is, so that a red run tells of a change; with FUZZ_SEED=random
# new ones are looked for.
settings.register_profile(
    "mailsvc",
    derandomize="FUZZ_SEED" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("mailsvc")

pytest_plugins = ["pytest_tornado.plugin", "tests.postgres"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every `async def` test on a loop of its own; what it needs it opens with `async with`."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.gen_test(timeout=150))  # for those that hang
            item.fixturenames.append("io_loop")
