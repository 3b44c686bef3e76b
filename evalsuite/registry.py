"""Names of components, built in or installed beside the suite: a plugin that does not work is an error, never a gap.

A plugin is an installed distribution with an entry point in one of the groups below. Built-in components are named in
the same notation (`module:object`) and loaded by the same function.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from evalsuite.errors import InputError, Problem

MODELS = "evalsuite.models"  # objects of type evalsuite.models.formats.ModelFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One named component and where it comes from; `distribution` is empty for what the suite itself brings."""

    name: str
    reference: str
    distribution: str = ""
    version: str = ""

    @property
    def origin(self) -> str:
        """ "evalsuite", or "name version" of the plugin's distribution."""
        return f"{self.distribution} {self.version}" if self.distribution else "evalsuite"

    def load(self, kind: type[Any]) -> Any:
        """Import the object and check that it is a `kind` of this name.

        Raises
        ------
        InputError
            If it cannot be imported, is of another type, or calls itself otherwise; the message names the distribution.
        """
        module, _, attribute = self.reference.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in filter(None, attribute.split(".")):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:  # whatever the plugin's module did while it was imported
            raise self._faulty(f"cannot be imported ({type(error).__name__})") from error
        if not isinstance(found, kind):
            raise self._faulty(f"is a {type(found).__name__} where a {kind.__name__} is expected")
        if found.name != self.name:
            raise self._faulty(f"calls itself {found.name!r}")
        return found

    def _faulty(self, what: str) -> InputError:
        return InputError(
            f"plugin {self.name} of {self.origin} {what}",
            hint=f"Repair or remove it: pip uninstall {self.distribution or 'evalsuite'}. A run must not silently lose "
            "a component.",
        )


def components(group: str, built_in: Mapping[str, str]) -> dict[str, Component]:
    """Every component of a group, built-in ones first, then plugins by name. Nothing is imported.

    Raises
    ------
    InputError
        If two have the same name; both are named.
    """
    found = {name: Component(name=name, reference=reference) for name, reference in built_in.items()}
    problems = []
    for plugin in sorted(_plugins(group), key=lambda c: (c.name, c.origin)):
        if plugin.name in found:
            other = found[plugin.name].origin
            problems.append(Problem(what=f"{plugin.name} is brought by {other} and by {plugin.origin}", where=group))
        found.setdefault(plugin.name, plugin)
    if problems:
        raise InputError("two components have the same name", problems=problems, hint="Uninstall one of them.")
    return found


def _plugins(group: str) -> Iterable[Component]:
    seen = set()
    for point in metadata.entry_points(group=group):
        made = Component(
            name=point.name,
            reference=point.value,
            distribution=point.dist.name if point.dist else "an unknown distribution",
            version=point.dist.version if point.dist else "",
        )
        if made not in seen:  # a distribution found twice on the path
            seen.add(made)
            yield made
