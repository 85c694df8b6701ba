"""What an artefact says of itself: the JSON beside its tensors, as strict types.

Pydantic only, so that probes can be listed and looked at where neither torch nor numpy is installed. Everything is written
in a fixed order and without dates, so that the same training gives the same bytes.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field, ValidationError

from monitor.errors import ArtefactError
from monitor.records.words import Frozen, Text

__all__ = [
    "LAYER_CONVENTION",
    "MASK",
    "Alarm",
    "Calibration",
    "DataPin",
    "Measured",
    "ModelPin",
    "Point",
    "RateAt",
    "Sidecar",
    "SplitPin",
    "TensorsPin",
    "parse",
    "written",
]

LAYER_CONVENTION: Final = "output of block k, counted from 1, before any final norm; 0 is the embedding"
MASK: Final = "tokens of the surface, without the first token that the model reads"
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
SurfaceName: TypeAlias = Literal["prompt", "reasoning", "output", "tool", "text"]
FormatName: TypeAlias = Literal["plain", "chat"]
KindName: TypeAlias = Literal[
    "difference_of_means", "logistic_regression", "lda", "attention", "mahalanobis", "nearest"
]


class _Part(Frozen):
    """A part of the sidecar: no conversions, no unknown keys."""

    model_config = ConfigDict(strict=True)


class ModelPin(_Part):
    """Which model's activations the probe reads; as ``words.ModelFacts``."""

    name: str
    weights: str
    revision: str = ""
    quantisation: str = ""
    dtype: str
    width: Annotated[int, Field(ge=1, le=1_000_000)]
    layers: Annotated[int, Field(ge=1, le=100_000)]
    template: str = ""
    tokenizer: str = ""


class DataPin(_Part):
    """One file that the probe was trained on. ``sha256`` is ``data.fingerprint`` of what was read of it."""

    name: Text
    sha256: Sha256
    texts: Count
    groups: Count
    positives: Count
    licence: Text = ""
    source: Text = ""


class SplitPin(_Part):
    """How the data were split by groups; the same data, seed and library give the same split."""

    by: Literal["share", "groups"]
    share: Share = 0.0
    groups: tuple[Text, ...] = ()
    seed: int
    folds: Count
    train_texts: Count
    train_groups: Count
    test_texts: Count
    test_groups: Count


class Measured(_Part):
    """One figure on texts that the probe was not fitted on, with its 95 % interval."""

    name: Text
    on: Text
    value: Finite
    low: Finite
    high: Finite
    texts: Count
    groups: Count


class Point(_Part):
    """``reached`` of the harmless texts score more than the next point's threshold.

    Where no thresholds were left out, that is this one's ``threshold`` or more. ``effective`` is how many independent texts
    the share is worth.
    """

    threshold: Finite
    reached: Count
    effective: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RateAt(_Part):
    """The lowest threshold that keeps a false-positive rate of ``target``, the rate there, and its 95 % interval."""

    target: Share
    threshold: Finite
    rate: Share
    low: Share
    high: Share


class Calibration(_Part):
    """Scores of harmless texts of one set and surface. ``points`` go from the highest threshold down."""

    name: Text
    sha256: Sha256
    licence: Text = ""
    source: Text = ""
    surface: SurfaceName
    format: FormatName
    mode: Literal["", "own", "own_live", "reader"] = ""
    """Whose activations they are of; empty for texts from files, whose rates hold for any."""
    negatives: Annotated[int, Field(ge=1)]
    groups: Annotated[int, Field(ge=1)]
    effective: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """How many independent texts the set is worth where no text reaches a threshold."""
    rates: tuple[RateAt, ...] = ()
    points: Annotated[tuple[Point, ...], Field(min_length=1, max_length=10_000)]


class Alarm(_Part):
    """Something that an evaluation found. One that ``blocks`` keeps the probe from being attached unless forced."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    message: Text
    blocks: bool = True


class TensorsPin(_Part):
    """The file of tensors beside the sidecar: its hash, and the shape of each tensor, all float32."""

    sha256: Sha256
    shapes: dict[str, tuple[Count, ...]]


class Sidecar(_Part):
    """Everything that is known of a probe but its numbers."""

    artefact: Literal["monitor.probe/1"] = "monitor.probe/1"
    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    finds: Text
    """What a high score says, in words."""
    role: Text = ""
    kind: KindName
    hyper: dict[str, Finite | bool | int | str | None] = Field(default_factory=dict)
    pooling: str
    layer: Count
    layer_convention: Literal["output of block k, counted from 1, before any final norm; 0 is the embedding"] = (
        LAYER_CONVENTION
    )
    surface: SurfaceName
    mask: Literal["tokens of the surface, without the first token that the model reads"] = MASK
    format: FormatName
    max_tokens: Annotated[int, Field(ge=1)]
    model: ModelPin
    tensors: TensorsPin | None = None
    data: tuple[DataPin, ...]
    split: SplitPin
    seed: int
    chosen_by: Text = ""
    """How layer, pooling, kind and hyper-parameters were chosen."""
    metrics: tuple[Measured, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)


def written(sidecar: Sidecar) -> bytes:
    """The sidecar as JSON, one fixed text for the same values."""
    value = sidecar.model_dump(mode="json")
    return (json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def parse(content: bytes, where: str) -> Sidecar:
    """Read a sidecar.

    Raises:
        ArtefactError: it is no JSON, has a key twice, or is not what a sidecar is; every fault at once.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        if not isinstance(value, dict) or "artefact" not in value:
            raise ValueError("it has no `artefact`, which says what it is")
        return Sidecar.model_validate_json(json.dumps(value))
    except ValidationError as exc:
        faults = [
            f"{'.'.join(map(str, error['loc'])) or 'the whole'}: {error['msg']}"
            for error in exc.errors(include_url=False)
        ]
        raise ArtefactError(f"{where} is no sidecar of a probe: {'; '.join(faults[:20])}") from None
    except (ValueError, RecursionError) as exc:
        raise ArtefactError(f"{where} is no sidecar of a probe: {exc}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
