"""``train.yaml``: what a probe is trained on, and among what its layer, pooling and kind are chosen.

Read as strictly as policies: every fault of the file is told at once, with its line and column.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, ValidationError

from monitor import strict_yaml
from monitor.errors import Fault, FileFaults, ProbeError, TooManyFaultsError
from monitor.probes import kinds, novelty
from monitor.probes.data import refuse
from monitor.probes.pooling import Pooling
from monitor.probes.sidecar import FormatName, KindName, SurfaceName
from monitor.records.words import Frozen, Text
from monitor.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["DataFile", "HeldOut", "TrainFile", "Training", "read_config"]

Scalar: TypeAlias = bool | int | float | str | None
DEFAULTS: dict[str, dict[str, Any]] = kinds.DEFAULTS | novelty.DEFAULTS
Faulty: TypeAlias = tuple[list[str | int], str, str]
UNLABELLED = frozenset(novelty.DEFAULTS)


class _Part(Frozen):
    model_config = ConfigDict(strict=True)


class DataFile(_Part):
    """One file of texts; see ``data.Columns`` for what the columns are. ``chains`` is read by ``data.read_steps``."""

    file: str
    name: Text = ""
    chains: bool = False
    text: str = "text"
    label: str = "label"
    group: str = "group"
    context: str = "context"
    group_pattern: str = ""
    positive: Literal[0, 1] = 1
    tags: dict[str, Text] = Field(default_factory=dict)
    tag_columns: dict[str, str] = Field(default_factory=dict)
    licence: Text
    source: Text


class HeldOut(_Part):
    """What is held out to judge by: a share of the groups, drawn by the seed, or groups by name."""

    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    groups: tuple[Text, ...] = ()


class TrainFile(_Part):
    """The file as it is written; docs/probes.md says what each key means."""

    probe: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    finds: Text
    role: Text = ""
    model: str = "embedded"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    format: FormatName = "plain"
    surface: SurfaceName = "text"
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: Annotated[tuple[DataFile, ...], Field(min_length=1)]
    held_out: HeldOut
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    layers: Annotated[tuple[int | float, ...], Field(min_length=1)]
    poolings: Annotated[tuple[str, ...], Field(min_length=1)] = ("last", "mean")
    kinds: Annotated[dict[KindName, dict[str, tuple[Scalar, ...]] | None], Field(min_length=1)]
    calibrate: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    output: str = "."


@dataclass(frozen=True, slots=True)
class Training:
    """A configuration without faults. Paths in it are relative to ``folder``."""

    written: TrainFile
    folder: Path

    @property
    def output(self) -> Path:
        """The folder of the artefact."""
        return self.folder / self.written.output

    @property
    def labelled(self) -> bool:
        """Whether the kinds learn from labels; those of novelty learn from harmless texts alone."""
        return not UNLABELLED & set(self.written.kinds)

    def grid(self) -> Iterator[tuple[KindName, Pooling, dict[str, Any]]]:
        """Every kind with every pooling and each combination of its hyper-parameters, in the order of the file."""
        for kind, hyper in self.written.kinds.items():
            poolings = [Pooling("attention")] if kind == "attention" else map(Pooling.parse, self.written.poolings)
            combined = [
                dict(zip(hyper or {}, values, strict=True)) for values in itertools.product(*(hyper or {}).values())
            ]
            yield from ((kind, pooling, chosen) for pooling in poolings for chosen in combined)


def read_config(path: Path) -> Training:
    """Read a configuration.

    Raises:
        ProbeDataError: with every fault of the file.
    """
    faults = FileFaults()
    root = strict_yaml.read(path, faults)
    found: TrainFile | None = None
    if root is not None and not faults:
        try:
            found = _validated(root, str(path), faults)
            if found is not None:
                _check(found, root, path, faults)
        except TooManyFaultsError:
            faults.give_up()
    faults.sort(key=lambda fault: (fault.line, fault.column))
    refuse(faults)
    assert found is not None
    return Training(found, path.parent)


def _validated(root: strict_yaml.Node, path: str, faults: FileFaults) -> TrainFile | None:
    import json  # noqa: PLC0415 - pydantic is only strict about JSON's types where it is given JSON

    if not isinstance(root.value, dict):
        faults.append(Fault(path, 1, 1, "a training configuration is a map.", "It has `probe:`, `data:` and `kinds:`."))
        return None
    try:
        return TrainFile.model_validate_json(json.dumps(_listed(root.plain())))
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        for error in errors:
            if any(
                len(other["loc"]) > len(error["loc"]) and other["loc"][: len(error["loc"])] == error["loc"]
                for other in errors
            ):
                continue  # a list is too short only because its items have faults
            mark = root.place([step for step in error["loc"] if isinstance(step, (str, int))])
            problem, fix = _said(error)
            faults.append(Fault(path, mark.line, mark.column, problem, fix))
        return None


def _listed(plain: dict[str, Any]) -> dict[str, Any]:
    """The same with one value of a hyper-parameter as a list of one."""
    found = plain.get("kinds")
    if isinstance(found, dict):
        listed = {
            kind: {name: value if isinstance(value, list) else [value] for name, value in hyper.items()}
            if isinstance(hyper, dict)
            else hyper
            for kind, hyper in found.items()
        }
        return {**plain, "kinds": listed}
    return plain


def _said(error: Mapping[str, Any]) -> tuple[str, str]:
    name = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        model = DataFile if error["loc"][0] == "data" else HeldOut if error["loc"][0] == "held_out" else TrainFile
        return f"`{name}` is not known{nearest(name, model.model_fields)}.", f"Known: {', '.join(model.model_fields)}."
    if error["type"] == "missing":
        return f"`{name}` is missing.", "Write it."
    where = next((step for step in reversed(error["loc"]) if isinstance(step, str)), "it")
    return f"`{where}`: {error['msg'][:1].lower()}{error['msg'][1:]}.", ""


def _check(found: TrainFile, root: strict_yaml.Node, path: Path, faults: FileFaults) -> None:
    for place, problem, fix in [*_faulty_data(found, path), *_faulty_choices(found)]:
        mark = root.place(place)
        faults.append(Fault(str(path), mark.line, mark.column, problem, fix))


def _faulty_data(found: TrainFile, path: Path) -> Iterator[Faulty]:
    for index, file in enumerate(found.data):
        if not (path.parent / file.file).is_file():
            yield (["data", index, "file"], f"there is no file `{file.file}`.", f"It is looked for in {path.parent}.")
    if (found.held_out.share is None) == (not found.held_out.groups):
        yield (["held_out"], "one of `share` and `groups` says what is held out.", "Write `share: 0.25`, or names.")


def _faulty_choices(found: TrainFile) -> Iterator[Faulty]:
    for index, layer in enumerate(found.layers):
        if isinstance(layer, float) and not 0 <= layer <= 1:
            yield (
                ["layers", index],
                f"{layer:g} is no share of the depth.",
                "A layer is a whole number, or 0.0 to 1.0.",
            )
    for index, written in enumerate(found.poolings):
        try:
            if Pooling.parse(written).name == "attention":
                yield (
                    ["poolings", index],
                    "`attention` is the pooling of that kind alone.",
                    "Name the kind `attention`.",
                )
        except ProbeError as exc:
            yield (["poolings", index], f"{exc}.", "")
    for kind, hyper in found.kinds.items():
        for name, values in (hyper or {}).items():
            if name not in DEFAULTS[kind]:
                known = ", ".join(DEFAULTS[kind]) or "none"
                yield (["kinds", kind, name], f"{kind} has no hyper-parameter `{name}`.", f"Known: {known}.")
            elif not values:
                yield (["kinds", kind, name], f"`{name}` has no value to choose from.", "Write one at least.")
    if 0 < len(UNLABELLED & set(found.kinds)) < len(found.kinds):
        problem = "kinds that learn from labels and kinds of novelty do not go together in one probe."
        yield (["kinds"], problem, "Make two configurations of it.")
