"""What all tests share. The only file that knows which plugin runs the asynchronous ones."""

import sys
import types

from packaging.version import Version

# pytest-tornado 0.8.1 imports pkg_resources, which setuptools dropped in version 82. All it wants of it is this.
pkg_resources = types.ModuleType("pkg_resources")
pkg_resources.parse_version = Version
sys.modules.setdefault("pkg_resources", pkg_resources)

pytest_plugins = ["pytest_tornado.plugin"]
