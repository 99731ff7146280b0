"""The e-mail services: one file each. Being in this folder is what registers a provider."""

from __future__ import annotations

from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules
from types import ModuleType

from .base import Provider


def all_providers() -> dict[str, type[Provider]]:
    """Every provider by name, in the order of their ranks."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__) if found.name != "base"]
    classes = [value for module in modules for value in _own_providers(module)]
    return {value.name: value for value in sorted(classes, key=lambda value: value.rank)}


def _own_providers(module: ModuleType) -> list[type[Provider]]:
    """The providers that a module defines; those that it imports belong to another."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Provider)
        and not isabstract(value)
        and value.__module__ == module.__name__
    ]
