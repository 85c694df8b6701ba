"""The page on probes says what the code does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from monitor import catalog
from monitor.probes import kinds, novelty, training
from monitor.probes.calibration import needed
from monitor.probes.config import DataFile, TrainFile, read_config
from monitor.probes.sidecar_file import read_sidecar
from tests.docs.pages import ROOT, blocks
from tests.docs.test_tables import page, rows

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "probes.md"


def test_the_configuration_on_the_page_is_read(tmp_path: Path) -> None:
    (tmp_path / "praise.csv").write_text("statement,label,person\na,1,x\n")
    block, *others = blocks("yaml", "probe", on=PAGE)
    assert not others
    (tmp_path / "praise.yaml").write_text(block.text)
    found = read_config(tmp_path / "praise.yaml")
    assert len(list(found.grid())) == 2 * 4
    assert training.datasets_of(found)[0].rows[0].group == "x"


def test_every_key_is_on_the_page_with_its_default() -> None:
    table = {name: default for keys, default, _ in rows(page("docs/probes.md"), "key") for name in keys.split(", ")}
    assert table.keys() == TrainFile.model_fields.keys()
    defaults: dict[str, Any] = {
        "poolings": "last, mean",
        "calibrate": "none",
        "role": "none",
        "model": "embedded, float32",
    }
    for name, field in TrainFile.model_fields.items():
        if field.is_required():
            assert table[name] == "required"
        elif name != "dtype":
            assert table[name] == str(defaults.get(name, field.default))
    for name in DataFile.model_fields:
        assert f"`{name}" in page("docs/probes.md") or f"{name}:" in page("docs/probes.md")


def test_every_kind_is_on_the_page_with_its_hyper_parameters() -> None:
    said = {kind: hyper for kind, hyper, _ in rows(page("docs/probes.md"), "kind")}
    known = kinds.DEFAULTS | novelty.DEFAULTS
    assert said == {kind: ", ".join(hyper) or "none" for kind, hyper in known.items()}


def test_how_many_texts_a_rate_needs_is_as_the_page_says() -> None:
    text = page("docs/probes.md")
    for rate in (0.05, 0.01, 0.001):
        assert f"{needed(rate):,}" in text


@pytest.mark.parametrize("name", catalog.names("probe"))
def test_the_figures_of_the_shipped_probes_are_those_of_their_sidecars(name: str) -> None:
    """To two decimals."""
    said = {(probe, on): value for probe, on, value, *_ in rows(page("docs/probes.md"), "probe")}
    for one in read_sidecar(catalog.find("probe", name)).metrics:
        if one.name == "auroc":
            where = one.on.removeprefix("held out, ")
            assert said[name, where] == f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
