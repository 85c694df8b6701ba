"""``monitor policy schema``: the JSON Schema of policy files, for editors."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.console import emit_json, note
from monitor.cli.options import Json
from monitor.errors import ConfigError

__all__ = ["schema"]


def schema(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there, in place of what is there.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Print the JSON Schema of policy files, by which an editor completes keys and fields and marks what is wrong.

    Editors with the YAML language server find it by the first line of a policy file:
    `# yaml-language-server: $schema=schema.json`, a path relative to the file.
    """
    from monitor.policy.tools.json_schema import policy_schema, policy_schema_text

    if out is not None:
        try:
            out.write_text(policy_schema_text(), encoding="utf-8")
        except OSError as exc:
            raise ConfigError(f"{out} cannot be written: {exc.strerror}") from exc
    if json_output:
        emit_json("monitor.policy-schema/1", {"path": out, "schema": policy_schema()})
    elif out is None:
        sys.stdout.write(policy_schema_text())
    else:
        note(f"wrote {out}")
