"""A name or a path becomes a recipe, a role, a tool, a policy pack or a probe.

A name is looked up among the files that came with the package (``monitor/_bundled/…`` in an installed wheel, the folders at
the top of the repository in a checkout). A path is taken as it is. Recipes and tools are Python files that are run to be
loaded: whoever may name one may run code, so a name never comes from a model. A probe is a folder, found by its sidecar.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from monitor.errors import CatalogError, RecipeError
from monitor.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import CodeType, ModuleType, TracebackType

__all__ = ["Kind", "Recipe", "ToolFile", "find", "load_recipe", "load_tool", "names", "shipped", "source_of"]

Kind: TypeAlias = Literal["recipe", "role", "tool", "policy", "probe"]

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS: dict[Kind, tuple[str, str]] = {
    "recipe": ("agents/recipes", ".py"),
    "role": ("agents/roles", ".md"),
    "tool": ("agents/tools", ".py"),
    "policy": ("policies", ".yaml"),
    "probe": ("probes", "/probe.json"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A loaded recipe.

    ``name`` is how people know it (``amplify``, or ``mine:plan`` for a second function of a file). ``ref`` loads the same
    recipe again from any working directory. ``sha256`` is that of the very bytes that were run. ``doc`` is the
    function's docstring, else the file's.
    """

    name: str
    function: Callable[..., Awaitable[Any]]
    path: Path
    sha256: str
    doc: str
    ref: str


@dataclass(frozen=True, slots=True)
class ToolFile:
    """A loaded tool: the function that is named like its file. ``sha256`` is that of the very bytes that were run."""

    name: str
    function: Callable[..., Any]
    path: Path
    sha256: str


def shipped(kind: Kind) -> Path:
    """The folder of the shipped files: bundled in the wheel, else the checkout's own."""
    folder = _FOLDERS[kind][0]
    bundled = _PACKAGE / "_bundled" / folder
    return bundled if bundled.is_dir() else _PACKAGE.parent / folder


def names(kind: Kind) -> list[str]:
    """Return the names of all shipped files of ``kind``, sorted."""
    found = shipped(kind).glob(f"*{_FOLDERS[kind][1]}")
    return sorted(path.parent.name if kind == "probe" else path.stem for path in found)


def find(kind: Kind, name_or_path: str, *, near: Path | None = None) -> Path:
    """Return the absolute path of the file that ``name_or_path`` stands for; of a probe, its sidecar's (links to which are
    not followed here, so that loading can refuse them).

    Args:
        kind: What is looked for.
        name_or_path: A shipped name, or a path: whatever has a ``/`` or ends in the suffix of its kind. The path of a probe
            is its folder's or its sidecar's.
        near: A recipe's folder. A role of its own comes before the shipped one of that name: ``near/roles/NAME.md``,
            then ``near/../roles/NAME.md``, then ``near/NAME.md``; a tool likewise, but for the last. Paths are relative
            to it if there is such a file.

    Raises:
        CatalogError: no such file; names the nearest known names.
    """
    suffix = _FOLDERS[kind][1]
    if "/" in name_or_path or name_or_path.endswith((suffix, ".yml")):
        return _find_path(kind, name_or_path, near)
    file_name = f"{name_or_path}{suffix}"
    candidates = [shipped(kind) / file_name]
    if near is not None:
        beside = f"{kind}s"
        own = [near / beside / file_name, near.parent / beside / file_name, near / file_name]
        candidates[:0] = own[:2] if kind == "tool" else own  # a recipe may have the name of a tool
    for path in candidates:
        if path.is_file():
            return path.parent.resolve() / path.name if kind == "probe" else path.resolve()
    known = names(kind)
    beside = name_or_path if kind == "probe" else file_name
    raise CatalogError(
        f"no {kind} named {name_or_path!r}{nearest(name_or_path, known)}; known: {', '.join(known) or 'none'}. "
        f"{'A folder' if kind == 'probe' else 'A file'} of your own is given by its path, such as ./{beside}"
    )


def _find_path(kind: Kind, name: str, near: Path | None) -> Path:
    given = Path(name).expanduser()
    for path in ([near / given] if near is not None else []) + [given]:
        if kind == "probe" and (path / "probe.json").is_file():
            return path.resolve() / "probe.json"
        if path.is_file() or (kind == "policy" and path.is_dir()):
            return path.parent.resolve() / path.name if kind == "probe" else path.resolve()
    raise CatalogError(f"no {kind} file {name!r} in {Path.cwd() if near is None else near}; check the path")


def load_recipe(ref: str) -> Recipe:
    """Load the recipe ``ref``: ``NAME``, ``path.py`` or either with ``:function`` (default: the file's own name).

    Raises:
        CatalogError: no such file.
        RecipeError: the file cannot be run (the line is named), lacks the function, or the function is not async.
    """
    place, separator, function_name = ref.rpartition(":")
    if not separator:
        place, function_name = ref, ""
    path = find("recipe", place)
    function_name = function_name or path.stem
    source = path.read_bytes()
    module = _run("recipe", path, source)
    function = getattr(module, function_name, None)
    if function is None:
        raise RecipeError(_missing(module, function_name), path)
    if not inspect.iscoroutinefunction(function):
        raise RecipeError(f"{function_name!r} must be an async function: write `async def {function_name}(...)`", path)
    own_name = function_name == path.stem
    is_shipped = path.parent == shipped("recipe").resolve()
    return Recipe(
        name=path.stem if own_name else f"{path.stem}:{function_name}",
        function=function,
        path=path,
        sha256=hashlib.sha256(source).hexdigest(),
        doc=inspect.getdoc(function) or inspect.getdoc(module) or "",
        ref=(path.stem if is_shipped else str(path)) + ("" if own_name else f":{function_name}"),
    )


def load_tool(name_or_path: str, *, near: Path | None = None) -> ToolFile:
    """Load the tool of that name or path: the function that is named like its file.

    Raises:
        CatalogError: no such file.
        RecipeError: the file cannot be run (the line is named), or lacks the function.
    """
    path = find("tool", name_or_path, near=near)
    source = path.read_bytes()
    function = getattr(_run("tool", path, source), path.stem, None)
    if not inspect.isfunction(function):
        raise RecipeError(f"expected a function named like the file: `def {path.stem}(...)`", path)
    return ToolFile(path.stem, function, path, hashlib.sha256(source).hexdigest())


def source_of(module: ModuleType) -> tuple[Path, str]:
    """The file of a module and its text: the very text that was run, where this module ran it.

    Raises:
        CatalogError: there is no such file.
    """
    file, loader = getattr(module, "__file__", None), getattr(module, "__loader__", None)
    try:
        source = loader.source if isinstance(loader, _FileLoader) else Path(file or "").read_bytes()
        return Path(file or "").absolute(), importlib.util.decode_source(source)
    except (OSError, SyntaxError, UnicodeDecodeError) as exc:
        raise CatalogError(f"the file of {module.__name__} cannot be read: {exc}") from exc


class _FileLoader(SourceFileLoader):
    """Runs exactly the bytes that were hashed, and leaves no cache of compiled code beside the file."""

    def __init__(self, fullname: str, path: str, source: bytes) -> None:
        super().__init__(fullname, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self.source, self.get_filename(fullname))


def _run(kind: Kind, path: Path, source: bytes) -> ModuleType:
    """Run a recipe's or tool's file once for each content, as a module whose name no other file can take."""
    unique = hashlib.sha256(str(path).encode() + b"\0" + source).hexdigest()[:16]
    module_name = f"monitor_{kind}_{path.stem}_{unique}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    loader = _FileLoader(module_name, str(path), source)
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    assert spec is not None, "a loader was given"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs: dataclasses and pickling look a class's module up
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as exc:  # the file is the user's: whatever it raises is reported with its line
        del sys.modules[module_name]
        raise RecipeError(f"line {_line(exc, path)}: {type(exc).__name__}: {exc}", path) from exc
    return module


def _line(error: BaseException, path: Path) -> int:
    """The line of ``path`` that led to the error: of the syntax error, else of its deepest frame in that file."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    line, frame = 1, error.__traceback__
    while frame is not None:
        line = frame.tb_lineno if _is_in(frame, path) else line
        frame = frame.tb_next
    return line


def _is_in(frame: TracebackType, path: Path) -> bool:
    return frame.tb_frame.f_code.co_filename == str(path)


def _missing(module: ModuleType, name: str) -> str:
    found = [
        key
        for key, value in vars(module).items()
        if inspect.iscoroutinefunction(value) and value.__module__ == module.__name__
    ]
    there = f"it has {', '.join(found)}" if found else "it has no async function at all"
    return f"no function {name!r}{nearest(name, found)} ({there}). Name one as path.py:function"
