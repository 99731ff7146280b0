"""What all tests share. The only file that knows which plugin runs the asynchronous ones."""

import inspect
import sys
import types

import pytest
from packaging.version import Version

# pytest-tornado 0.8.1 imports pkg_resources, which setuptools dropped in version 82. All it wants of it is this.
pkg_resources = types.ModuleType("pkg_resources")
pkg_resources.parse_version = Version
sys.modules.setdefault("pkg_resources", pkg_resources)

pytest_plugins = ["pytest_tornado.plugin", "tests.postgres"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every `async def` test on a loop of its own; what it needs it opens with `async with`."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.gen_test(timeout=60))
            item.fixturenames.append("io_loop")
