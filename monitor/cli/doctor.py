"""``monitor doctor``: what is there, what is off, what is broken, and the command that mends it."""

import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import typer
from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import visible
from monitor.errors import MonitorError
from monitor.settings import Settings, unknown_variables

__all__ = ["Part", "doctor", "examine", "register"]

State = Literal["ok", "off", "broken"]
_STYLES: dict[State, str] = {"ok": "green", "off": "yellow", "broken": "bold red"}
_BASE = ("pydantic", "sqlmodel", "alembic", "google-re2", "rfc8785", "ruamel.yaml", "genai-prices", "typer", "rich")
_SERVE = ("starlette", "uvicorn", "opentelemetry-proto", "protobuf", "googleapis-common-protos")
_REINSTALL = "pip install --force-reinstall factored-monitor"


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the report. A part that is not ``needed`` may be off; ``mend`` is the command that changes that."""

    name: str
    state: State
    detail: str
    mend: str = ""
    needed: bool = False


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(doctor)


def doctor(*, db: Db = None, config: Config = None, json_output: Json = False) -> None:
    """Say what is there, what is missing, and what mends it.

    Exit code 1 if a needed part is not ok.
    """
    parts = list(examine(db=db, config=config))
    broken = [part for part in parts if part.needed and part.state != "ok"]
    if json_output:
        emit_json("monitor.doctor/1", {"ok": not broken, "parts": [asdict(part) for part in parts]})
    else:
        for part in parts:
            line = Text.assemble((f"{part.state:<7}", _STYLES[part.state]), f"{part.name:<12} {visible(part.detail)}")
            stdout().print(line, soft_wrap=True)
            if part.mend:
                stdout().print(Text(f"{'':20}→ {visible(part.mend)}", style="cyan"), soft_wrap=True)
        sys.stdout.write("all needed parts are ok\n" if not broken else f"not ok: {len(broken)} of the needed parts\n")
    if broken:
        raise typer.Exit(ExitCode.UNEXPECTED)


def examine(**flags: object) -> Iterator[Part]:
    """Examine everything, one part after the other; a part that raises is broken, and the rest is still examined."""
    yield _python()
    yield _packages()
    settings: Settings | None = None
    try:
        settings = load_settings(**flags)
        yield _settings_part(settings)
    except MonitorError as exc:
        yield Part("settings", "broken", str(exc), "mend the setting that is named here", needed=True)
    if settings:
        chosen = settings
        yield from _guarded("sqlite", lambda: _sqlite(chosen))
        yield from _guarded("database", lambda: _database(chosen))
        yield from _guarded("policies", lambda: _policies(chosen))
        yield from _guarded("tools", lambda: _tools(chosen))
    embedded = settings is None or settings.model == "embedded"
    yield from _guarded("weights", lambda: _weights(needed=embedded))
    yield _extra("embedded", "xllamacpp", "the embedded model", needed=embedded)
    yield _extra("models", "openai", "the embedded model and OpenAI-compatible endpoints", needed=embedded)
    yield _extra("models", "langchain", "other providers, by init_chat_model")
    yield _serve()
    yield from _guarded("psycopg", lambda: _psycopg(settings))
    yield _torch()


def _guarded(name: str, check: Callable[[], Part]) -> Iterator[Part]:
    try:
        yield check()
    except MonitorError as exc:
        yield Part(name, "broken", str(exc), needed=True)
    except Exception as exc:  # noqa: BLE001 - a doctor reports what is broken, whatever it is
        yield Part(name, "broken", f"unexpected {type(exc).__name__}: {exc}", _REINSTALL, needed=True)


def _python() -> Part:
    return Part("python", "ok", f"{platform.python_version()} ({sys.executable})", needed=True)


def _packages() -> Part:
    """The base packages and their versions; what is missing is named."""
    versions, missing = _versions(_BASE)
    if missing:
        return Part("packages", "broken", f"missing: {', '.join(missing)}", _REINSTALL, needed=True)
    return Part("packages", "ok", ", ".join(versions), needed=True)


def _versions(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The packages that are installed, with their versions; and those that are not."""
    versions, missing = [], []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return versions, missing


def _settings_part(settings: Settings) -> Part:
    source = str(settings.config_file or "no monitor.toml")
    unknown = unknown_variables()
    if unknown:
        detail = f"{source}; nothing reads {', '.join(unknown)}"
        return Part("settings", "off", detail, f"unset {' '.join(unknown)}")
    return Part("settings", "ok", f"{source}; model {settings.model}", needed=True)


def _database(settings: Settings) -> Part:
    from monitor.store import inspect

    facts = inspect(settings.db)
    if facts.problem:
        mend = "monitor db upgrade" if facts.schema_version and facts.schema_version < facts.newest_schema else ""
        return Part("database", "broken", facts.problem, mend, needed=True)
    there = f"schema {facts.schema_version}" if facts.exists else "not there yet: the first run makes it"
    writable = "writable" if facts.writable else "not writable"
    pending = f", {facts.pending_leaves} events without a leaf yet" if facts.pending_leaves else ""
    server = f", PostgreSQL {facts.engine_version}" if facts.engine == "postgresql" else ""
    warnings = "".join(f"; {warning}" for warning in facts.warnings) if server else ""
    detail = f"{facts.url}: {there}, {writable}{pending}{server}{warnings}"
    return Part("database", "ok" if facts.writable else "broken", detail, needed=True)


def _sqlite(settings: Settings) -> Part:
    """The SQLite library: versions before 3.51.3 can, rarely, corrupt a database in WAL mode."""
    from monitor.store.location import is_postgres
    from monitor.store.sqlite.connection import library_is_safe, library_version

    needed = not is_postgres(settings.db)
    if library_is_safe():
        return Part("sqlite", "ok", library_version(), needed=needed)
    detail = f"{library_version()}: below 3.51.3, whose repair of a rare corruption in WAL mode is wanted"
    return Part("sqlite", "off", detail, "pip install pysqlite3")


def _policies(settings: Settings) -> Part:
    """Load the packs of the settings and run the tests inside their rules."""
    from monitor import catalog, policy

    if not settings.policies:
        return Part("policies", "off", "none set: no verdict can be `pass`", 'set policies = ["core"] in monitor.toml')
    results = (rules := policy.load([catalog.find("policy", name) for name in settings.policies])).run_tests()
    failed = [result.rule for result in results if not result.passed]
    names = ", ".join(settings.policies)
    if failed:
        detail = f"{names}: {len(failed)} tests fail, in {', '.join(sorted(set(failed)))}"
        return Part("policies", "broken", detail, f"monitor policy test {' '.join(settings.policies)}", needed=True)
    return Part("policies", "ok", f"{names}: {len(rules.refs)} rules, {len(results)} tests pass", needed=True)


def _tools(settings: Settings) -> Part:
    """What confines the tools of untrusted roles, tried on one that does nothing."""
    import asyncio

    from monitor.orchestrate.confinement import problem_of

    isolation = settings.tool_isolation
    mend = 'set tool_isolation = "landlock" in monitor.toml'
    if isolation == "none":
        return Part("tools", "off", "tool_isolation none: tools of untrusted roles run in this process", mend)
    problem = asyncio.run(problem_of(isolation))
    if problem:
        weaker = 'set tool_isolation = "process" in monitor.toml: a process of its own without that protection'
        detail = f"tool_isolation {isolation}, and tools of untrusted roles will fail: {problem}"
        return Part("tools", "off", detail, weaker if isolation == "landlock" else "")
    if isolation == "process":
        detail = "tool_isolation process: tools of untrusted roles can open what this user can open, the store among it"
        return Part("tools", "off", detail, mend)
    return Part("tools", "ok", "tools of untrusted roles are confined by Landlock and seccomp")


def _weights(*, needed: bool) -> Part:
    from monitor.models.weights import PULL, describe

    info = describe()[0]
    if not info.problem:
        return Part("weights", "ok", f"{info.path}, {info.size / 1e6:.0f} MB, hash verified", needed=needed)
    if info.present:
        return Part("weights", "broken", info.problem, f"{PULL} --force", needed)
    return Part("weights", "off", info.problem, PULL, needed)


def _extra(extra: str, package: str, what: str, *, needed: bool = False) -> Part:
    """An optional package: found without importing it."""
    mend = f'pip install "factored-monitor[{extra}]"'
    if importlib.util.find_spec(package) is None:
        return Part(package, "off", f"not installed; needed for {what}", mend, needed)
    return Part(package, "ok", importlib.metadata.version(package), needed=needed)


def _serve() -> Part:
    """What ``monitor serve`` stands on."""
    versions, missing = _versions(_SERVE)
    if missing:
        detail = (
            f"not installed: {', '.join(missing)}; needed for `monitor serve`, which receives OpenTelemetry's spans"
        )
        return Part("serve", "off", detail, 'pip install "factored-monitor[serve]"')
    return Part("serve", "ok", ", ".join(versions))


def _psycopg(settings: Settings | None) -> Part:
    """The driver of PostgreSQL, needed where the database is on a server."""
    from monitor.store.location import is_postgres

    needed = settings is not None and is_postgres(settings.db)
    return _extra("postgres", "psycopg", "a store that a team shares, on a PostgreSQL server", needed=needed)


def _torch() -> Part:
    """Torch, for activation probes. It is not imported, only looked at: importing takes seconds."""
    if importlib.util.find_spec("torch") is None:
        return Part("torch", "off", "not installed; needed for activation probes", "make probes")
    version = importlib.metadata.version("torch")
    build = "CPU build" if "+cpu" in version else "CUDA or other build"
    return Part("torch", "ok", f"{version} ({build})")
