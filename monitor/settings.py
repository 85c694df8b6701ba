"""Settings: flags over environment (``MONITOR_*``) over ``monitor.toml`` over defaults.

``Settings(**flags)`` reads all four. A flag that is None was not given. Tables (``budget``, ``models``, ``embedded``) are
merged key by key, so that ``--budget calls=10`` leaves the other limits as they were.

Every fault is a ``ConfigError`` that names its source: the flag, the environment variable, or the file and line. Keys of
models are wrapped in ``SecretStr`` on the way in, so that no repr, dump or error message shows one.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from monitor.errors import ConfigError
from monitor.records import Frozen, Limits

__all__ = [
    "CONFIG_NAME",
    "EmbeddedOptions",
    "Settings",
    "ToolIsolation",
    "find_config",
    "nearest",
    "sources",
    "unknown_variables",
]

ToolIsolation: TypeAlias = Literal["landlock", "process", "none"]

CONFIG_NAME = "monitor.toml"
_ENV_PREFIX = "MONITOR_"
_OTHER_VARIABLES = {"MONITOR_DEBUG"}
_SECRET_WORDS = ("key", "token", "secret", "password")
_NO_LIMIT = {"none", "unlimited"}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word most like ``word``, or nothing where none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def find_config(start: Path) -> Path | None:
    """Return the nearest ``monitor.toml``: in ``start``, or above it as far as the top of its repository or the home.

    Outside of both only ``start`` itself is looked in: a file that somebody else left in a shared folder such as
    ``/tmp`` must not decide where prompts and keys are sent.
    """
    folders = [start, *start.parents]
    tops = [index for index, folder in enumerate(folders) if (folder / ".git").exists() or folder == Path.home()]
    for folder in folders[: tops[0] + 1 if tops else 1]:
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    return None


def sources() -> tuple[Any, ...]:
    """Where ``Settings()`` reads from, as it is now: where this is as it was, reading them again gives the same.

    It takes a tenth of the time of reading them. A file that was changed and has the same size and the same time of change
    to the nanosecond is taken for unchanged.
    """
    folder = Path.cwd()
    variables = tuple(item for item in os.environ.items() if item[0].upper().startswith(_ENV_PREFIX))
    named = [value for name, value in variables if name.upper() == f"{_ENV_PREFIX}CONFIG" and value]
    path = Path(named[-1]) if named else find_config(folder)
    try:
        facts = path.stat() if path else None
    except OSError:
        facts = None
    return str(folder), variables, path, facts and (facts.st_ino, facts.st_mtime_ns, facts.st_size)


def _split_names(value: Any) -> Any:
    """Read ``core,./mine.yaml`` or a JSON list where a text stands for several names."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [name for part in value.split(",") if (name := part.strip())]


def _read_limits(value: Any) -> Any:
    """Let ``none`` lift a limit, for TOML has no null."""
    if not isinstance(value, Mapping):
        return value
    return {name: None if isinstance(item, str) and item.lower() in _NO_LIMIT else item for name, item in value.items()}


def _hide_keys(value: Any) -> Any:
    """Wrap whatever is named like a key. ``api_key_env`` is the name of a variable, and may be seen."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: SecretStr(item)
        if isinstance(item, str) and not name.endswith("_env") and any(word in name.lower() for word in _SECRET_WORDS)
        else item
        for name, item in value.items()
    }


class EmbeddedOptions(Frozen):
    """How the embedded model runs: ``parallel`` slots of ``context_tokens`` tokens each.

    ``threads`` None is all cores but one. ``path`` is another GGUF file than the pinned one, unchecked; ``gpu_layers`` go
    to a GPU where the build can. With ``prompt_cache`` the beginning that a prompt shares with an earlier one is not
    computed again; then an answer depends on what was asked before it.
    """

    path: Path | None = None
    context_tokens: int = Field(default=4096, ge=256)
    parallel: int = Field(default=2, ge=1, le=64)
    threads: int | None = Field(default=None, ge=1)
    gpu_layers: int = Field(default=0, ge=0)
    prompt_cache: bool = True


class Settings(BaseSettings):
    """All settings of one process. See the module for their sources.

    Relative paths from ``monitor.toml`` are relative to that file; all others to the working directory.

    Raises:
        ConfigError: for an unknown name, a wrong value or an unreadable file; names the source.
    """

    model_config = SettingsConfigDict(
        env_prefix=_ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
        hide_input_in_errors=True,
    )

    config: Path | None = Field(default=None, description="another settings file than the nearest monitor.toml")
    db: str = Field(
        default="sqlite:///monitor.db",
        min_length=1,
        repr=False,  # a URL may hold a password
        description="where runs are stored: URL or path",
    )
    model: str = Field(default="embedded", min_length=1, description="`embedded`, an alias, or provider:name")
    policies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)] = Field(
        default=("core",), description="policy packs, by name or path"
    )
    probes: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)] = Field(
        default=(), description="activation probes that are attached to every subcall, by name or path"
    )
    probe_models: dict[str, str] = Field(
        default_factory=dict, description="where models of probes are: a folder or a GGUF file for each name"
    )
    budget: Annotated[Limits, BeforeValidator(_read_limits)] = Field(
        default=Limits(calls=64, depth=6, seconds=600), description="the limits of a run; `none` lifts one"
    )
    judge_model: str = Field(default="", description="the model that answers the questions of rules; none by default")
    judge_budget: Annotated[Limits, BeforeValidator(_read_limits)] = Field(
        default=Limits(calls=64), description="what the judge may spend in a run, apart from the run's own limits"
    )
    judge_seconds: float = Field(default=60.0, gt=0, le=3600, description="how long the judge has for one question")
    concurrency: int = Field(default=2, ge=1, le=256, description="subcalls in flight at once")
    tool_isolation: ToolIsolation = Field(
        default="landlock", description="what confines the tools of untrusted roles: `landlock`, `process` or `none`"
    )
    cache: Path | None = Field(default=None, description="folder of the embedded model's weights")
    queries: Path | None = Field(default=None, description="folder of saved queries of your own (`monitor audit ask`)")
    busy_seconds: float = Field(default=30.0, gt=0, le=3600, description="how long to wait for a lock or a lost server")
    serve_token: SecretStr | None = Field(default=None, description="what whoever sends to `monitor serve` must name")
    checkpoint_key: Path | None = Field(
        default=None, description="file of the private key that signs checkpoints; without one none are made"
    )
    checkpoint_seconds: float = Field(
        default=3600.0, gt=0, description="how often a long run makes a checkpoint, besides the one at its end"
    )
    models: dict[str, Annotated[dict[str, Any], BeforeValidator(_hide_keys)]] = Field(
        default_factory=dict, description="aliases: a table of settings for each name"
    )
    embedded: EmbeddedOptions = Field(default=EmbeddedOptions(), description="how the embedded model runs")

    def __init__(self, **flags: Any) -> None:
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            super().__init__(**given)
        except ValidationError as exc:
            raise ConfigError(_explain(exc, given)) from None  # its context could show the value of a key
        except SettingsError as exc:
            raise ConfigError(f"{exc}; in the environment a table is written as JSON") from None  # as above

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put ``monitor.toml`` below flags and environment; read neither ``.env`` nor secret folders."""
        return init_settings, env_settings, _TomlSource(settings_cls)

    @property
    def config_file(self) -> Path | None:
        """The settings file that was read, or None where there is none."""
        return self.config or find_config(Path.cwd())


class _TomlSource(PydanticBaseSettingsSource):
    """Reads the file that the sources above name in ``config``, else the nearest one."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: the whole file is read in one go."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        named = self.current_state.get("config")
        path = Path(named) if named else find_config(Path.cwd())
        if path is None:
            return {}
        text, table = _read_toml(path)
        for name in table:
            if name not in self.settings_cls.model_fields or name == "config":
                known = [field for field in self.settings_cls.model_fields if field != "config"]
                where = f"{path}:{_line_of(text, (name,))}"
                raise ConfigError(
                    f"{where}: unknown setting {name!r}{nearest(name, known)}; known: {', '.join(known)}."
                )
        return _anchor(table, path.parent)


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as exc:
        raise ConfigError(
            f"cannot read the settings file {path}: {exc.strerror}; check MONITOR_CONFIG or --config"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: expected UTF-8 text, found other bytes at offset {exc.start}") from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from None  # its context quotes the file, keys included


def _anchor(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths in the file relative to the file, wherever the command runs."""

    def from_folder(value: str) -> str:
        return str(folder / Path(value).expanduser())

    anchored = dict(table)
    db = table.get("db")
    if isinstance(db, str) and db:
        if db.startswith("sqlite:///"):
            anchored["db"] = f"sqlite:///{from_folder(db.removeprefix('sqlite:///'))}"
        elif "://" not in db:
            anchored["db"] = from_folder(db)
    for setting in ("cache", "checkpoint_key", "queries"):
        place = table.get(setting)
        if isinstance(place, str):
            anchored[setting] = from_folder(place)
    models = table.get("probe_models")
    if isinstance(models, dict) and all(isinstance(place, str) for place in models.values()):
        anchored["probe_models"] = {
            name: from_folder(place) if "/" in place else place for name, place in models.items()
        }
    for setting in ("policies", "probes"):
        names = table.get(setting)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            anchored[setting] = [from_folder(name) if "/" in name else name for name in names]
    return anchored


def _line_of(text: str, location: tuple[str, ...]) -> int:
    """Return the line (from 1) that sets ``location`` in a TOML text, or the nearest table above it, or 1."""
    found, depth = 1, 0
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = _dotted(stripped.strip("[] ").partition("]")[0])
            path = table
        elif "=" in stripped and not stripped.startswith("#"):
            path = (*table, *_dotted(stripped.partition("=")[0]))
        else:
            continue
        if len(path) > depth and path == location[: len(path)]:
            found, depth = number, len(path)
    return found


def _dotted(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def _explain(error: ValidationError, flags: Mapping[str, Any]) -> str:
    """One line for each fault: where it was set, what was expected. Values of model tables are never shown."""
    file = Path(flags.get("config") or os.environ.get(f"{_ENV_PREFIX}CONFIG") or find_config(Path.cwd()) or "")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        location = tuple(str(part) for part in fault["loc"])
        expected = fault["msg"]
        if fault["type"] == "extra_forbidden":
            known = Limits.model_fields if location[0] == "budget" else EmbeddedOptions.model_fields
            known = known if len(location) > 1 else Settings.model_fields
            expected = f"unknown name {location[-1]!r}{nearest(location[-1], known)}; known: {', '.join(known)}."
        found = (
            "" if location[0] == "models" or fault["type"] == "extra_forbidden" else f"; found {fault['input']!r:.80}"
        )
        lines.append(f"{_source(location, flags, file, text)}: {expected}{found}")
    return "\n".join(lines)


def _source(location: tuple[str, ...], flags: Mapping[str, Any], file: Path, text: str) -> str:
    """Name the source of one setting: the strongest one that sets it."""
    name, rest = location[0], ".".join(location[1:])
    flag = flags.get(name)
    if flag is not None and (len(location) == 1 or not isinstance(flag, Mapping) or location[1] in flag):
        return f"--{name.replace('_', '-')}{' ' + rest if rest else ''}"
    variable = f"{_ENV_PREFIX}{name.upper()}"
    in_environment = os.environ.get(variable, "")
    if in_environment and (len(location) == 1 or f'"{location[1]}"' in in_environment or location[1].isdigit()):
        return f"{variable}{' ' + rest if rest else ''}"
    if text:
        return f"{file}:{_line_of(text, location)}: {'.'.join(location)}"
    return ".".join(location)


def unknown_variables() -> list[str]:
    """Return the ``MONITOR_*`` variables that no setting reads: perhaps mistyped, so ``monitor doctor`` names them."""
    known = {f"{_ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    return sorted(name for name in os.environ if name.startswith(_ENV_PREFIX) and name not in known)
