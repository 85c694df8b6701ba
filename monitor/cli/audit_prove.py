"""``monitor audit keygen``, ``checkpoint`` and ``prove``: signing the log, and proofs to hand out."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.audit_keys import Vkey, read_note, verifier_of
from monitor.cli.console import emit_json
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.runs import find_run
from monitor.cli.working import working
from monitor.errors import ConfigError

__all__ = ["checkpoint", "keygen", "prove", "register"]

Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The private key; default: the setting `checkpoint_key`."),
]


def register(group: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (checkpoint, keygen, prove):
        group.command()(command)


def keygen(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key is written; must not be there.")],
    *,
    name: Annotated[
        str, typer.Option("--name", help="Whose log it is, such as audit.example.org/monitor: no spaces, no +.")
    ],
    json_output: Json = False,
) -> None:
    """Make a key that signs checkpoints, and print its public half.

    One key for one store: its name is the origin of every checkpoint that it signs. Keep the private key where whoever can
    write the database cannot read it, and hand the public one to the auditors.
    """
    from monitor.audit.integrity.notes import Signer

    signer = Signer.generate(name)
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{out} is there already; a key is never written over: name another file") from None
    except OSError as exc:
        raise ConfigError(f"{out}: the key cannot be written ({exc.strerror})") from exc
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{signer.skey}\n")
    if json_output:
        emit_json("monitor.audit-key/1", {"file": out, "name": name, "vkey": signer.verifier.vkey})
    else:
        sys.stdout.write(f"{signer.verifier.vkey}\n")


def checkpoint(
    *,
    key: Key = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write it there too. One that is there must agree with the log."),
    ] = None,
    address: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Sign the log as it is now, store the checkpoint, and print it.

    With --out it is also written into a file, to be kept where the people who run the monitor cannot write: only a
    checkpoint kept elsewhere shows that a tail was cut off. If FILE is there, the whole log is hashed first and must agree
    with it; then the file is replaced. Exit code 6 if the log contradicts an earlier checkpoint: then nothing is signed.
    """
    from monitor.audit.integrity.checkpoints import make
    from monitor.audit.integrity.notes import read_signer
    from monitor.store import Store

    settings = load_settings(config=config, db=address)
    path = key or settings.checkpoint_key
    if path is None:
        raise ConfigError(
            "no key: name one with --key or the setting checkpoint_key (MONITOR_CHECKPOINT_KEY); "
            "`monitor audit keygen` makes one"
        )
    signer = read_signer(path)
    earlier = read_note(out) if out is not None and out.exists() else ""
    with (
        Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store,
        working("hashing the log", quiet=json_output) as told,
    ):
        made = make(store, signer, earlier=earlier, progress=told)
    if out is not None:
        _replace(out, made.note)
    if json_output:
        facts = {"origin": made.checkpoint.origin, "size": made.checkpoint.size, "root": made.checkpoint.root.hex()}
        emit_json("monitor.audit-checkpoint/1", {**facts, "note": made.note, "new": made.is_new, "file": out})
    else:
        sys.stdout.write(made.note)


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written ({exc.strerror}); the checkpoint is in the store") from exc


def prove(
    ref: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run: its id, its beginning, or `latest`.")
    ] = None,
    subcall: Annotated[
        str | None, typer.Argument(metavar="SUBCALL", help="Only this subcall; the beginning of its id.")
    ] = None,
    *,
    since: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Prove that the log begins with that of this checkpoint instead."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the proof there.")] = None,
    vkey: Vkey = None,
    address: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Export a proof (JSON) that events are in the signed log, or that the log only grew since a checkpoint.

    It holds the events in canonical form, which no text stands in, the checkpoint, and the hashes of RFC 9162.
    """
    from monitor.audit.integrity.proofs import consistency, inclusion
    from monitor.store import Store

    if (ref is None) == (since is None):
        raise ConfigError("expected either RUN, for its events, or --from FILE, for the log since then")
    settings = load_settings(config=config, db=address)
    verifier = verifier_of(vkey, settings)
    with (
        Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store,
        working("hashing the log", quiet=json_output),
    ):
        if since is not None:
            shape, proof = "monitor.consistency-proof/1", consistency(store, read_note(since), verifier=verifier)
        else:
            assert ref is not None
            run = find_run(store, ref).start.run_id
            span = store.subcall(run, subcall).call.span_id if subcall else ""
            shape, proof = "monitor.inclusion-proof/1", inclusion(store, run, span, verifier=verifier)
    if out is None:
        emit_json(shape, proof)
        return
    _replace(out, json.dumps({"format": shape, **proof}, indent=2) + "\n")
    if json_output:
        emit_json("monitor.audit-proof/1", {"file": out, "kind": shape})
    else:
        sys.stdout.write(f"{out}\n")
