"""Saved queries: SQL files with a description and parameters, which auditors ask by name.

A file begins with lines of comment that are YAML: ``description``, and ``parameters``, each with ``type``,
``default`` and ``about``. A file ``NAME.postgresql.sql`` beside it has the SQL for PostgreSQL where the two differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitor import strict_yaml
from monitor.audit.times import utc_of
from monitor.errors import CatalogError, ConfigError, Fault, FileFaultsError
from monitor.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path(__file__).with_name("queries")
_VARIANT = ".postgresql"
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_TRUTHS = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}

Value = str | int | float | None


class Parameter(BaseModel):
    """What a parameter of a saved query is: its type, the value that it has when none is given, and what it is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text", "integer", "number", "boolean", "time"] = "text"
    default: str | int | float | bool | None = None
    required: bool = False
    about: str

    def read(self, name: str, given: str | None) -> Value:
        """The value for the database. Raises ConfigError."""
        if given is None:
            if self.required:
                raise ConfigError(f"--param {name}=VALUE is needed: {self.about}")
            return int(self.default) if isinstance(self.default, bool) else self.default
        problem = ConfigError(f"--param {name}={given}: expected {_ARTICLE[self.type]}")
        try:
            if self.type == "boolean":
                return _TRUTHS[given.lower()]
            if self.type == "integer":
                return int(given)
            if self.type == "number":
                number = float(given)
                if not math.isfinite(number):
                    raise problem
                return number
            if self.type == "time" and given:
                return utc_of(given)
        except (ValueError, KeyError):
            raise problem from None
        return given


_ARTICLE = {
    "text": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "time": "a date or time such as 2026-11-22 or 2026-11-22T10:00",
}


class _Front(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(min_length=1)
    parameters: dict[str, Parameter] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A saved query. ``sql`` and ``sql_on_postgres`` are the same question for the two databases."""

    name: str
    description: str
    path: Path
    sql: str
    sql_on_postgres: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def values(self, given: Mapping[str, str]) -> dict[str, Value]:
        """The values of all parameters, those given and the defaults of the others. Raises ConfigError."""
        for name in given:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "it has none"
                raise ConfigError(
                    f"{self.name} has no parameter {name!r}{nearest(name, self.parameters)}; its parameters: {known}"
                )
        return {name: parameter.read(name, given.get(name)) for name, parameter in self.parameters.items()}


def saved_queries(folder: Path | None = None) -> dict[str, SavedQuery]:
    """All saved queries by name: those that are shipped, and those of a ``folder`` of one's own.

    Raises FileFaultsError for a file that is wrong, ConfigError for a folder that is not there or a name that is taken.
    """
    found = {path.stem: read_query(path) for path in _files(_FOLDER)}
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: expected a folder of saved queries (setting `queries`), found none")
        for path in _files(folder):
            if path.stem in found:
                raise ConfigError(f"{path}: the name {path.stem} is that of a shipped query; give the file another one")
            found[path.stem] = read_query(path)
    return dict(sorted(found.items()))


def find_query(name: str, folder: Path | None = None) -> SavedQuery:
    """The saved query of this name, or in the file at this path. Raises CatalogError, FileFaultsError, ConfigError."""
    if name.endswith(".sql") or "/" in name:
        return read_query(Path(name))
    known = saved_queries(folder)
    if name not in known:
        raise CatalogError(
            f"there is no saved query {name!r}{nearest(name, known)}; `monitor audit ask` lists them. "
            "SQL itself is asked with: monitor audit query"
        )
    return known[name]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.sql") if not path.stem.endswith(_VARIANT))


def read_query(path: Path) -> SavedQuery:
    """Read a file. Raises FileFaultsError with every fault, ConfigError if it cannot be read."""
    text = _text(path)
    lines = text.splitlines()
    count = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    front = "\n".join(line.removeprefix("--").removeprefix(" ") for line in lines[:count]) + "\n"
    faults: list[Fault] = []
    node = strict_yaml.parse(front, str(path), faults)
    values: dict[str, Any] = node.plain() if node and isinstance(node.value, dict) else {}
    if not faults and not values:
        faults.append(Fault(str(path), 1, 1, "a saved query begins with comment lines: -- description: …"))
    if not set(path.stem) <= _NAME_CHARS:
        faults.append(Fault(str(path), 1, 1, "the file's name may have a to z, 0 to 9 and -"))
    sql = "\n".join(lines[count:]).strip()
    if not sql:
        faults.append(Fault(str(path), count + 1, 1, "there is no SQL below the comment"))
    if not faults:
        try:
            read = _Front(**values)
        except ValidationError as exc:
            for error in exc.errors(include_input=False, include_url=False):
                where = ".".join(map(str, error["loc"]))
                mark = node.place([str(part) for part in error["loc"]]) if node else None
                faults.append(Fault(str(path), mark.line if mark else 1, 1, f"{where}: {error['msg']}"))
        else:
            variant = path.with_name(f"{path.stem}{_VARIANT}.sql")
            other = _text(variant).strip() if variant.exists() else sql
            return SavedQuery(path.stem, read.description.strip(), path, sql, other, read.parameters)
    raise FileFaultsError(faults)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f"{path}: expected a saved query, cannot be read ({exc})") from exc
