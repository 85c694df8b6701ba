"""``monitor policy import``: rule files of other projects as packs of ours."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Json
from monitor.cli.safe import one_line, visible
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.policy.importers import FileReport, Imported, Remark

__all__ = ["import_atr", "register"]


def register(group: typer.Typer) -> None:
    """Add the commands of this module to the group `policy`."""
    own = typer.Typer(help="Make packs of other projects' rule files.", no_args_is_help=True, rich_markup_mode=None)
    own.command("atr")(import_atr)
    group.add_typer(own, name="import")


def import_atr(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Rule files, or folders of them.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PACK.yaml", help="Where to write the pack; without it, only report."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the pack: lower-case letters, digits and _.")] = "atr",
    json_output: Json = False,
) -> None:
    """Make a pack of Agent Threat Rules, with their tests. Exit code 1 if a file could not be imported at all.

    What could not be taken over is said rule by rule, condition by condition and test by test; the reasons are in
    docs/importing.md. What could is written all the same. A pack above the loader's limit is split: PACK_2.yaml and so on.
    """
    from monitor.policy.importers import Result
    from monitor.policy.importers import import_atr as run_import

    _check(files, name)
    imported = run_import(files, name)
    if not imported.files:
        raise ConfigError(f"{', '.join(map(str, files))}: found no rule file (*.yaml, *.yml)")
    written = _write(imported, out, name) if out is not None else []
    if json_output:
        emit_json("monitor.policy-import/1", _as_json(imported, written))
    else:
        _print(imported, written)
    if imported.count(Result.REFUSED):
        raise typer.Exit(ExitCode.UNEXPECTED)


def _check(files: list[Path], name: str) -> None:
    plain = name.isascii() and name[:1].isalpha() and name.islower() and name.replace("_", "").isalnum()
    if not plain or len(name) > 64:
        raise ConfigError(f"--name {name!r}: expected lower-case letters, digits and _, the first a letter, at most 64")
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        raise ConfigError(f"{', '.join(missing)}: expected a file or a folder, found nothing there; check the path")


def _write(imported: "Imported", out: Path, name: str) -> list[str]:
    """Write the packs. Never over a file that was not written by an import."""
    from monitor.policy.importers.packs import MARK

    paths = {
        out if own == name else out.with_name(f"{out.stem}_{number}{out.suffix}"): text
        for number, (own, text) in enumerate(imported.packs.items(), start=1)
    }
    try:
        for path in paths:
            if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(f"# {MARK}"):
                raise ConfigError(
                    f"--out {path}: there is a file that no import made; name another one, or move it away"
                )
        for path, text in paths.items():
            path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"--out {out}: cannot be written: {exc.strerror}; check the folder") from exc
    return [str(path) for path in paths]


def _print(imported: "Imported", written: list[str]) -> None:
    table = Table("file", "id", "result", "conditions", "tests", "reasons", box=None, header_style="dim")
    for file in imported.files:
        reasons = dict.fromkeys(remark.reason.value for remark in _remarks(file))
        cells = (
            Path(file.path).name,
            file.foreign_id,
            file.result.value,
            f"{file.conditions_imported}/{file.conditions}",
            f"{file.tests_imported}/{len(file.tests)}",
            ", ".join(reasons),
        )
        table.add_row(*(Text(one_line(cell, 60)) for cell in cells))
    stdout().print(table)
    for file in imported.files:
        for remark in _remarks(file):
            detail = f": {remark.detail}" if remark.detail else ""
            line = f"{file.path}:{remark.line}: {remark.where[:120]}: {remark.reason.value}{detail}"
            stdout().print(Text(visible(line)), soft_wrap=True)
    sys.stdout.write("\n" + "".join(f"{line}\n" for line in _summary(imported, written)))


def _summary(imported: "Imported", written: list[str]) -> list[str]:
    count = _counts(imported)
    return [
        f"files: {count['imported']} imported, {count['partly']} partly, {count['refused']} refused",
        f"conditions: {count['conditions_imported']} of {count['conditions']}; "
        f"tests: {count['tests_imported']} of {count['tests']}, each of which holds",
        *(f"written: {path}" for path in written),
        *([] if written or not imported.packs else ["nothing written: name a file with --out"]),
    ]


def _counts(imported: "Imported") -> dict[str, int]:
    from monitor.policy.importers import Result

    return {
        **{result.value: imported.count(result) for result in Result},
        "conditions": sum(file.conditions for file in imported.files),
        "conditions_imported": sum(file.conditions_imported for file in imported.files),
        "tests": sum(len(file.tests) for file in imported.files),
        "tests_imported": sum(file.tests_imported for file in imported.files),
    }


def _remarks(file: "FileReport") -> "list[Remark]":
    """All remarks on a file, those on its tests last; of a refused file those on the file alone."""
    from monitor.policy.importers import Result

    tests = [test.left_out for test in file.tests if test.left_out and file.result is not Result.REFUSED]
    return [*file.remarks, *tests]


def _as_json(imported: "Imported", written: list[str]) -> dict[str, Any]:
    files = [
        {
            "path": file.path,
            "id": file.foreign_id,
            "title": file.title,
            "rule": file.rule,
            "result": file.result,
            "conditions": file.conditions,
            "conditions_imported": file.conditions_imported,
            "remarks": [_remark(remark) for remark in file.remarks],
            "tests": [
                {
                    "name": test.name,
                    "expected": test.expected,
                    "line": test.line,
                    "imported": test.left_out is None,
                    "left_out": _remark(test.left_out) if test.left_out else None,
                }
                for test in file.tests
            ],
        }
        for file in imported.files
    ]
    return {"counts": _counts(imported), "written": written, "files": files}


def _remark(remark: "Remark") -> dict[str, Any]:
    return {
        "reason": remark.reason,
        "about": remark.kind,
        "where": remark.where,
        "line": remark.line,
        "detail": remark.detail,
    }
