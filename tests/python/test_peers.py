"""benchmarks/peers: figures worked out by hand from made-up measurements, and our own adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mossrt
from bench import groups
from conftest import LLAMA, ROOT
from engines import ENGINES, Run, all_runs
from engines.mossrt import PROGRAM, Engine
from report import markdown
from shapes import SHAPES
from summary import as_json, duels, summarise

SHAPE = "llama-1.1b"
QUIET = {"gbs": 40.0, "int8": 1000.0, "bf16": 500.0, "f32": 250.0}
LAYERS = 22 * (2 * 2048 * 2048 + 2 * 2048 * 256 + 3 * 2048 * 5632)
HEAD = 2048 * 32000

Record = dict[str, Any]


def record(run: str, metric: str, **values: Any) -> Record:
    engine, variant = run.split(":")
    base = {"shape": SHAPE, "engine": engine, "variant": variant, "threads": 2, "metric": metric}
    return base | values


def sample(
    run: str, metric: str, seconds: float, foreign: float = 0.0, after: float = 40
) -> Record:
    return record(
        run,
        metric,
        seconds=seconds,
        rss_gib=1.5,
        foreign=foreign,
        before=QUIET,
        after=QUIET | {"gbs": after},
    )


OURS, RIVAL, OTHER = "mossrt:int4-g64", "llama_cpp:q4_0", "openvino:int4"
RECORDS = [
    record(OURS, "load", load_s=3.0, rss_gib=1.0),
    *[sample(OURS, "decode", seconds) for seconds in (1.0, 2.0, 1.6)],
    sample(OURS, "decode", 0.1, after=30),  # the bus moved by a quarter
    sample(OURS, "decode", 0.1, foreign=0.5),  # somebody else was busy
    sample(OURS, "prefill512", 4.0),
    record(RIVAL, "load", load_s=1.5, rss_gib=0.5),
    sample(RIVAL, "decode", 2.0),
    sample(RIVAL, "prefill512", 2.0),
    sample(RIVAL, "batch8", 1.0, foreign=0.9),
    record(OTHER, "failed", stage="installing", reason="no such package"),
    sample("ctranslate2:int8", "decode", 0.01),  # of another family: no rival of 4 bits
]


def test_speeds_are_medians_of_steady_samples_beside_the_limit() -> None:
    row = summarise(RECORDS, max_foreign=0.18)[0]
    decode, prefill = row.cells["decode"], row.cells["prefill512"]
    assert (decode.value, decode.kept, decode.of, decode.spread) == (40, 3, 5, (32, 64))
    read = (LAYERS * 4.25 + HEAD * 8.125) / 8
    assert decode.limit == pytest.approx(40 / (40e9 / read))
    operations = 2 * (512 * LAYERS + HEAD)
    assert prefill.limit == pytest.approx(operations / 4.0 / 1000e9)
    assert row.cells["memory"].value == 1.5
    assert row.cells["load"].value == 3


def test_several_sequences_are_bounded_by_the_nearer_limit() -> None:
    def fraction(probe: dict[str, float]) -> float | None:
        one = sample(OURS, "batch8", 1.0) | {"before": probe, "after": probe}
        return summarise([one], 1)[0].cells["batch8"].limit

    read = (LAYERS * 4.25 + HEAD * 8.125) / 8
    assert fraction(QUIET | {"gbs": 1.0}) == pytest.approx(128 / (8e9 / read))
    assert fraction(QUIET | {"gbs": 1e6}) == pytest.approx(128 * 2 * (LAYERS + HEAD) / 1000e9)


def test_ratios_are_above_one_where_we_are_ahead() -> None:
    found = {duel.metric: duel for duel in duels(summarise(RECORDS, 0.18))}
    assert found["decode"].rival == "llama.cpp q4_0"
    assert {metric: duel.ratio for metric, duel in found.items()} == {
        "decode": 40 / 32,
        "prefill512": 0.5,
        "memory": 1,
        "load": 0.5,
    }


def test_tables_show_every_cell_and_what_failed() -> None:
    text = markdown(summarise(RECORDS, 0.18))
    assert "| **mossrt int4-g64** | 4.25 (8.125) | 40.0 (" in text
    assert "[3/5]" in text
    assert "| 0.50 llama.cpp q4_0 256 **behind** |" in text
    assert "- OpenVINO GenAI int4: installing: no such package" in text
    assert "- llama.cpp q4_0: batch8: none of 1 samples was steady" in text
    widths = {line.count("|") for line in text.split("### ")[1].split("Beside")[0].splitlines()[2:]}
    assert widths == {8, 0}


def test_report_is_json() -> None:
    report = as_json(summarise(RECORDS, 0.18))
    assert json.loads(json.dumps(report)) is not None
    assert [row["engine"] for row in report["rows"]].count("mossrt") == 1
    assert report["rows"][0]["cells"]["decode"]["value"] == 40


def test_plot_has_a_picture_for_every_shape(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import image

    from plot import draw

    moss = [entry | {"shape": "moss-slice"} for entry in RECORDS]
    for name, records in (("one", RECORDS), ("two", RECORDS + moss)):
        draw(json.loads(json.dumps(as_json(summarise(records, 0.18)))), tmp_path / f"{name}.png")
    one, two = (image.imread(tmp_path / f"{name}.png") for name in ("one", "two"))
    assert two.shape[1] == 2 * one.shape[1]
    assert one.std() > 0.05  # not a blank page


def test_weights_of_the_shapes() -> None:
    llama, moss = SHAPES[SHAPE], SHAPES["moss-slice"]
    norms = 45 * 2048
    # As published for this shape.
    assert llama.layer_weights + 2 * llama.head_weights + norms == 1_100_048_384
    assert moss.layer_weights == 4 * 12 * 6144**2


def test_groups_hold_ours_beside_every_rival() -> None:
    runs = all_runs(list(ENGINES))
    for available in (1e12, 30e9, 1):
        found = groups(runs, SHAPES["moss-slice"], available)
        rivals = [run for group in found for run in group if run.engine != "mossrt"]
        assert sorted(map(str, rivals)) == sorted(str(r) for r in runs if r.engine != "mossrt")
        for group in found:
            family = {run.format.family for run in group}
            assert len(family) == 1
            expected = [r for r in runs if r.engine == "mossrt" and {r.format.family} == family]
            assert group[: len(expected)] == expected
    assert len(groups(runs, SHAPES["moss-slice"], 1e12)) == 3
    assert len(groups(runs, SHAPES["moss-slice"], 1)) == len(rivals)


def test_unknown_runs_are_named() -> None:
    with pytest.raises(ValueError, match="no engine is called 'vllm'; there is mossrt, llama_cpp"):
        Run.parse("vllm:int4")
    with pytest.raises(ValueError, match="mossrt has no variant 'int3'; there is int4-g64"):
        Run.parse("mossrt:int3")


@pytest.mark.parametrize("variant", ENGINES["mossrt"].variants)
def test_our_adapter(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ENGINES["mossrt"].variants[variant].options
    if not PROGRAM.exists():  # no release build: what is then said must tell how to make one
        with pytest.raises(FileNotFoundError, match="--target model_bench"):
            Engine(LLAMA, options, 1)
        return
    engine = Engine(LLAMA, options, 1)
    try:
        # The library that Python loads computes in the same way.
        model = mossrt.Model.from_pretrained(LLAMA, options["dtype"], threads=1)
        assert model.info["numerics"] == engine.loaded["numerics"]
        for seconds in (engine.prefill([1] * 40), engine.decode(3), engine.batch_decode(8, 2)):
            assert 0 < seconds < 60
        assert engine.load_s > 0
        assert 0 < engine.peak_rss_gib < 4
        with pytest.raises(RuntimeError, match="2048 positions"):
            engine.decode(4000)
        assert engine.decode(1) > 0  # and goes on
    finally:
        engine.close()
    monkeypatch.setenv("MOSSRT_MODEL_BENCH", str(ROOT / "no/such/program"))
    with pytest.raises(FileNotFoundError, match="no/such/program is not there"):
        Engine(LLAMA, options, 1)
