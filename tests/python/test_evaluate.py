"""The report card of formats, against NumPy's and torch's arithmetic on the same logits."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mossrt
import reference_data
from conftest import LLAMA, MOSS, ROOT, TRAINED
from mossrt import research
from mossrt.research import report_card
from test_cli import run

HELDOUT = ROOT / "examples" / "tiny-moss" / "heldout.txt"
SEPARATOR = "<|endoftext|>"
SCRIPTS = ROOT / "tests" / "references"

# Three documents of lengths that no window divides.
IDS = reference_data.load("moss").ids
DOCUMENTS = [IDS[:100], IDS[100:131], IDS[200:202]]
CONTEXT = 30


def dialogues(every: int) -> list[str]:
    return HELDOUT.read_text(encoding="utf-8").split(SEPARATOR)[::every]


def windows(documents: list[list[int]], context: int) -> list[tuple[list[int], list[int]]]:
    """(tokens read, tokens predicted), by the definition: a predicted token is the next one."""
    found = []
    for ids in documents:
        pairs = list(itertools.pairwise(ids))
        for start in range(0, len(pairs), context):
            part = pairs[start : start + context]
            found.append(([a for a, _ in part], [b for _, b in part]))
    return found


def answers(
    path: Path, documents: list[list[int]], dtype: str, **options: Any
) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Logits and residual streams of all windows one below another, and the predicted tokens."""
    model = mossrt.Model.from_pretrained(path, dtype)
    layers = range(model.info["hyper_params"]["layers"])
    logits: list[np.ndarray] = []
    hidden: list[list[np.ndarray]] = [[] for _ in layers]
    targets: list[int] = []
    for inputs, following in windows(documents, CONTEXT):
        with model.session(**options) as session:
            session.eval(inputs, logits="all", hidden=layers)
            logits.append(session.logits)
            for layer in layers:
                hidden[layer].append(session.hidden(layer))
        targets += following
    return np.concatenate(logits), [np.concatenate(h) for h in hidden], targets


def probabilities(logits: np.ndarray) -> np.ndarray:
    """By the definition, in long double: these logits are far from overflow."""
    powers = np.exp(logits.astype(np.longdouble))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize(("dtype", "kv"), [("bfloat16", None), ("float32", "bfloat16")])
def test_figures_are_those_of_the_definitions(dtype: str, kv: str | None) -> None:
    report = research.evaluate(MOSS, DOCUMENTS, [dtype], kv_dtypes=[kv], context=CONTEXT)
    reference, found = report.formats
    logits, hidden, targets = answers(MOSS, DOCUMENTS, "float32")
    other, other_hidden, _ = answers(MOSS, DOCUMENTS, dtype, kv_dtype=kv)
    p, q = probabilities(logits), probabilities(other)
    rows = np.arange(len(targets))
    perplexity = np.exp(-np.log(p[rows, targets]).mean())
    other_perplexity = np.exp(-np.log(q[rows, targets]).mean())
    kl = (p * np.log(p / q)).sum(-1)

    assert report.tokens == len(targets) == 99 + 30 + 1
    assert report.windows == len(windows(DOCUMENTS, CONTEXT)) == 6
    assert report.documents == 3
    assert (reference.is_reference, reference.divergence) == (True, None)
    assert reference.perplexity == pytest.approx(float(perplexity), rel=1e-12)
    assert found.perplexity == pytest.approx(float(other_perplexity), rel=1e-12)
    against = found.divergence
    assert against is not None
    assert against.perplexity_ratio == pytest.approx(
        float(other_perplexity / perplexity), rel=1e-12
    )
    assert kl.mean() > 1e-9
    # KL is a small difference of large numbers: float64's rounding is 1e-16 of those.
    assert against.kl_mean == pytest.approx(float(kl.mean()), abs=1e-14)
    ordered = np.sort(kl.astype(np.float64))
    for share, quantile in ((0.99, against.kl_99), (0.999, against.kl_99_9)):
        place = share * (len(kl) - 1)
        low = int(place)
        expected = ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])
        assert quantile == pytest.approx(float(expected), abs=1e-13)
    assert against.kl_max == pytest.approx(float(kl.max()), abs=1e-13)
    assert against.same_top1 == np.mean(logits.argmax(-1) == other.argmax(-1))
    assert len(against.layer_errors) == len(hidden)
    for error, wanted, had in zip(against.layer_errors, hidden, other_hidden, strict=True):
        wanted, had = wanted.astype(np.float64), had.astype(np.float64)
        sizes = [np.sqrt(np.sum(row**2)) for row in wanted]
        distances = [np.sqrt(np.sum(row**2)) for row in had - wanted]
        assert error == pytest.approx(float(np.mean(np.divide(distances, sizes))), rel=1e-12)
        assert error > 0


def test_weights_are_those_of_the_model() -> None:
    scores = research.evaluate(MOSS, DOCUMENTS, ["float32", "bfloat16", "auto"]).formats
    caches = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float32"}
    for score, dtype in zip(scores, caches, strict=True):
        info = mossrt.Model.from_pretrained(MOSS, dtype).info
        assert score.held_as == dtype
        assert score.kv_dtype == info["kv_dtype"] == caches[dtype]
        assert score.numerics == f"{info['numerics']} kv={caches[dtype]}"
        assert score.weight_bytes == info["memory"]["held"]
        assert score.bits_per_weight == 8 * info["memory"]["held"] / info["parameters"]
    assert [score.dtype for score in scores] == ["float32", "bfloat16", "auto"]


# float16 too: the file's weights are float16, so that both give the same bits.
@pytest.mark.parametrize("dtype", ["float32", "float16", "auto"])
def test_a_model_does_not_differ_from_itself(dtype: str) -> None:
    scores = research.evaluate(MOSS, DOCUMENTS, [dtype]).formats
    against = scores[-1].divergence
    assert against is not None
    assert against.perplexity_ratio == 1.0
    assert (against.kl_mean, against.kl_99, against.kl_99_9, against.kl_max) == (0, 0, 0, 0)
    assert against.same_top1 == 1.0
    assert against.layer_errors == (0.0,) * len(against.layer_errors)
    assert scores[-1].is_reference == (dtype == "float32")
    assert len(scores) == (1 if dtype == "float32" else 2)


def test_pieces_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = research.evaluate(MOSS, DOCUMENTS, ["float16", "float32"], "float16", context=70)
    monkeypatch.setattr(report_card, "KEPT_LOGITS", 1)
    monkeypatch.setattr("mossrt.research.divergence.BLOCK", 1000)
    pieces = research.evaluate(MOSS, DOCUMENTS, ["float16", "float32"], "float16", context=70)
    for one, other in zip(whole.formats, pieces.formats, strict=True):
        assert one.perplexity == pytest.approx(other.perplexity, rel=1e-13)
        assert one.divergence is not None
        assert one.divergence.kl_max == 0.0
        assert other.divergence is not None
        assert other.divergence.kl_max == 0.0


def test_every_window_begins_with_the_bos_that_the_tokenizer_adds(tmp_path: Path) -> None:
    with_bos = tmp_path / "moss"
    shutil.copytree(MOSS, with_bos, ignore=shutil.ignore_patterns("reference"))
    config = json.loads((with_bos / "tokenizer_config.json").read_text())
    (with_bos / "tokenizer_config.json").write_text(json.dumps(config | {"add_bos_token": True}))
    text = "Hello world, hello"
    model = mossrt.Model.from_pretrained(with_bos, "float32")
    bos, *ids = map(int, model.tokenizer.encode(text))
    assert [bos] == model.tokenizer.special_ids("bos")
    surprise = []
    for start in range(0, len(ids), 4):
        part = ids[start : start + 4]
        with model.session() as session:
            session.eval([bos, *part[:-1]], logits="all")
            found = probabilities(session.logits)
        surprise += [-np.log(found[row, token]) for row, token in enumerate(part)]
    report = research.evaluate(with_bos, text, ["float32"], context=4)
    assert report.tokens == len(ids) > 4
    expected = float(np.exp(np.mean(surprise)))
    assert report.formats[0].perplexity == pytest.approx(expected, rel=1e-12)
    without = research.evaluate(MOSS, text, ["float32"], context=4)
    assert without.tokens == len(ids) - 1


def test_control_tokens_in_a_text() -> None:
    text = "Hello<eom>\nHello<eom>\n"
    tokenizer = mossrt.Tokenizer.from_pretrained(MOSS)
    for parse_special in (True, False):
        report = research.evaluate(MOSS, text, ["float32"], parse_special=parse_special)
        assert report.tokens == len(tokenizer.encode(text, parse_special=parse_special)) - 1


def test_at_most_two_models_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    load = mossrt.Model.from_pretrained
    alive: list[weakref.ref[mossrt.Model]] = []
    most = 0

    def counted(*arguments: Any, **options: Any) -> mossrt.Model:
        nonlocal most
        model = load(*arguments, **options)
        alive.append(weakref.ref(model))
        most = max(most, sum(one() is not None for one in alive))
        return model

    monkeypatch.setattr(mossrt.Model, "from_pretrained", counted)
    dtypes = ["bfloat16", "float32", "float16", "auto"]
    research.evaluate(MOSS, DOCUMENTS, dtypes, kv_dtypes=["float32", "bfloat16"])
    assert (len(alive), most) == (4, 2)


def test_progress() -> None:
    seen: list[tuple[str, int, int]] = []
    report = research.evaluate(
        MOSS, DOCUMENTS, ["bfloat16"], context=CONTEXT, progress=lambda *call: seen.append(call)
    )
    ours = [call for call in seen if call[0] == "evaluate bfloat16"]
    assert len(ours) == report.windows
    assert ours[-1][1:] == (report.tokens, report.tokens)
    assert "load" in {call[0] for call in seen}


def test_wrong_arguments() -> None:
    def refused(message: str, texts: Any = DOCUMENTS, *arguments: Any, **options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            research.evaluate(MOSS, texts, *arguments, **options)

    refused("too short.* 1 tokens", [[5]])
    refused("too short.* 0 tokens", "")
    refused("too short.* 0 tokens", [])
    refused("int3", DOCUMENTS, ["float32", "int3"])
    refused("int3", DOCUMENTS, ["float32"], "int3")
    refused("int3", DOCUMENTS, ["float32"], kv_dtypes=["float32", "int3"])
    refused("dtypes must be a list", DOCUMENTS, "float32")
    refused("dtypes must be a list", DOCUMENTS, [])
    refused("kv_dtypes must be a list", DOCUMENTS, ["float32"], kv_dtypes=[])
    refused("context must be", DOCUMENTS, context=0)
    refused("positions", DOCUMENTS, context=99999)
    refused("token 99999", [[1, 99999]])
    refused("found -1", [[1, -1]])
    refused("memory_limt", DOCUMENTS, memory_limt=5)
    with pytest.raises(MemoryError):
        research.evaluate(MOSS, DOCUMENTS, memory_limit=1000)


def test_an_unknown_format_is_found_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mossrt.Model, "from_pretrained", None)
    with pytest.raises(ValueError, match="int3"):
        research.evaluate(MOSS, DOCUMENTS, ["bfloat16", "int3"])


def test_an_unknown_format_of_the_cache_is_found_before_anything_is_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mossrt.Session, "eval", None)
    with pytest.raises(ValueError, match="int3"):
        research.evaluate(MOSS, DOCUMENTS, ["bfloat16"], kv_dtypes=["float32", "int3"])


@pytest.fixture
def not_finite(tmp_path: Path) -> Path:
    """A checkpoint whose last norm holds a NaN."""
    folder = tmp_path / "llama"
    shutil.copytree(LLAMA, folder, ignore=shutil.ignore_patterns("reference"))
    for file in folder.glob("*.safetensors"):
        data = bytearray(file.read_bytes())
        size = int.from_bytes(data[:8], "little")
        entry = json.loads(data[8 : 8 + size]).get("model.norm.weight")
        if entry is not None:
            assert entry["dtype"] == "BF16"
            start = 8 + size + entry["data_offsets"][0]
            data[start : start + 2] = b"\xc0\x7f"
            file.write_bytes(data)
            return folder
    raise AssertionError("no file holds the norm")


def test_logits_that_are_not_finite_are_refused(not_finite: Path) -> None:
    with pytest.raises(mossrt.Error, match="float32 are not all finite") as caught:
        research.evaluate(not_finite, DOCUMENTS, ["bfloat16"])
    assert caught.value.code == mossrt.Code.UNSUPPORTED
    assert str(not_finite) in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_logits_far_apart_and_zero_rows() -> None:
    from mossrt.research.divergence import Outputs, Tally

    # exp(3000) is beyond float64; the second row's residual stream is 0 in both.
    base = np.array([[3000, 0, -3000], [0, 0, 0]], np.float32)
    ours = np.array([[0, 3000, -3000], [0, 0, 0]], np.float32)
    streams = np.array([[3, 4], [0, 0]], np.float32)
    tally = Tally(1)
    tally.add(
        Outputs("one", base, [streams]),
        Outputs("other", ours, [streams * 2]),
        np.array([0, 0], np.int32),
    )
    found = tally.divergence()
    assert found.kl_max == 3000.0
    assert found.kl_mean == 1500.0
    assert found.same_top1 == 0.5
    assert found.layer_errors == (0.5,)
    assert tally.reference_perplexity == pytest.approx(3**0.5)
    assert tally.perplexity == float("inf")


# --- against torch -------------------------------------------------------------------------------


def test_figures_are_those_of_torch_on_the_same_logits() -> None:
    torch = pytest.importorskip("torch", reason="torch's own loss functions are the reference")
    report = research.evaluate(MOSS, DOCUMENTS, ["bfloat16"], context=CONTEXT)
    logits, _, targets = answers(MOSS, DOCUMENTS, "float32")
    other, _, _ = answers(MOSS, DOCUMENTS, "bfloat16")
    wanted, found = (torch.from_numpy(x).double() for x in (logits, other))
    loss = torch.nn.functional.cross_entropy
    for score, values in zip(report.formats, (wanted, found), strict=True):
        expected = loss(values, torch.tensor(targets)).exp().item()
        assert score.perplexity == pytest.approx(expected, rel=1e-12)
    kl = torch.nn.functional.kl_div(
        found.log_softmax(-1), wanted.log_softmax(-1), reduction="batchmean", log_target=True
    )
    against = report.formats[1].divergence
    assert against is not None
    assert against.kl_mean == pytest.approx(kl.item(), abs=1e-14)


def test_figures_are_those_of_transformers_on_the_same_checkpoint() -> None:
    """A float32 checkpoint with its matrices rounded to float16; the embedding stays as it is."""
    torch = pytest.importorskip("torch", reason="transformers needs torch")
    pytest.importorskip("transformers", reason="its model of the same checkpoint is the reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import torch_models
        from make_models import KINDS
    path = MOSS.parent / "codegen"
    models = [torch_models.load(path, KINDS["codegen"]).double() for _ in range(2)]
    for name, parameter in models[1].named_parameters():
        if parameter.dim() == 2 and "wte" not in name:
            parameter.data = parameter.data.half().double()
    reference = reference_data.load("codegen")
    documents = [reference.ids[:200]]
    surprise, kls, same, errors = [], [], [], []
    for inputs, targets in windows(documents, 64):
        with torch.no_grad():
            wanted, found = (
                model(torch.tensor([inputs]), output_hidden_states=True) for model in models
            )
        p, q = (out.logits[0].log_softmax(-1) for out in (wanted, found))
        surprise.append(-torch.stack([p, q])[:, range(len(targets)), targets])
        kls.append((p.exp() * (p - q)).sum(-1))
        same.append(p.argmax(-1) == q.argmax(-1))
        # What follows a layer; transformers' last entry has been through the last norm.
        h, g = (torch.stack(out.hidden_states[1:-1])[:, 0] for out in (wanted, found))
        errors.append((g - h).norm(dim=-1) / h.norm(dim=-1))
    report = research.evaluate(path, documents, ["float16"], context=64)
    perplexities = torch.cat(surprise, 1).mean(1).exp()
    for score, expected in zip(report.formats, perplexities, strict=True):
        assert score.perplexity == pytest.approx(expected.item(), rel=1e-5)
    against = report.formats[1].divergence
    assert against is not None
    # float32's rounding of the logits is a thousandth of what float16's of the weights does.
    assert against.kl_mean == pytest.approx(torch.cat(kls).mean().item(), rel=0.01)
    assert against.same_top1 == pytest.approx(torch.cat(same).double().mean().item(), abs=0.01)
    expected_errors = torch.cat(errors, 1).mean(1).tolist()
    assert len(expected_errors) == len(against.layer_errors) - 1 > 0
    assert against.layer_errors[:-1] == pytest.approx(expected_errors, rel=0.01)


# --- what formats may cost on a model that is trained --------------------------------------------


def test_the_heldout_text_is_what_its_program_writes() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples" / "tiny-moss"))
        for name in ("make_dialogues", "phrases"):
            patch.delitem(sys.modules, name, raising=False)
        import make_dialogues

        assert HELDOUT.read_text(encoding="utf-8") == make_dialogues.heldout_text()
        assert make_dialogues.SEPARATOR == SEPARATOR
    # Every tag is one of the model's tokens, and every dialogue ends as an answer does.
    tokenizer = mossrt.Tokenizer.from_pretrained(TRAINED)
    eom = tokenizer.token_id("<eom>")
    for dialogue in dialogues(1):
        ids = tokenizer.encode(dialogue, parse_special=True)
        assert list(ids).count(eom) == 1
        assert dialogue.startswith("<|Human|>: ")
        assert dialogue.endswith("<eom>\n")


def test_nothing_held_out_is_trained_on(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples" / "tiny-moss"))
        for name in ("make_dialogues", "phrases"):
            patch.delitem(sys.modules, name, raising=False)
        import make_dialogues

        held_out = HELDOUT.with_suffix(".jsonl")
        make_dialogues.check(held_out, seed=1, count=2000)
        # The check itself notices a question that is trained on.
        seen = make_dialogues.Generator(1).dialogue().turns[0]
        questions = list(make_dialogues.heldout_questions())
        questions[0] |= {"phrasing": seen.phrasing, "unseen_phrasing": True}
        patch.setattr(make_dialogues, "heldout_questions", lambda: questions)
        changed = tmp_path / "heldout.jsonl"
        changed.write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
        with pytest.raises(AssertionError, match=r"Turn\("):
            make_dialogues.check(changed, seed=1, count=1)


# dtype, largest mean KL divergence from float32, smallest share of same top-1
GATES = [
    ("float16", 1e-9, 1.0),
    ("bfloat16", 1e-4, 0.99),
    ("int8", 2e-3, 0.98),
    ("int4", 0.05, 0.90),
]


# Formats in which the model answers as well as in float32.
SCORED = ["bfloat16", "int8"]


@pytest.mark.parametrize(("dtype", "kl", "same_top1"), GATES)
def test_accuracy_of_formats_on_the_trained_model(dtype: str, kl: float, same_top1: float) -> None:
    report = research.evaluate(TRAINED, dialogues(5), [dtype])
    against = report.formats[1].divergence
    assert against is not None
    assert report.tokens > 5000
    assert against.kl_mean < kl
    assert against.same_top1 >= same_top1
    assert against.perplexity_ratio == pytest.approx(1.0, abs=0.05)


@pytest.fixture(scope="module")
def questions() -> tuple[Any, list[dict[str, Any]]]:
    """The program that asks the trained model, and every tenth question."""
    folder = ROOT / "examples" / "tiny-moss"
    spec = importlib.util.spec_from_file_location("tiny_moss_evaluate", folder / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    lines = (folder / "heldout.jsonl").read_text(encoding="utf-8").splitlines()
    return program, [json.loads(line) for line in lines[::10]]


@pytest.mark.parametrize("dtype", SCORED)
def test_task_scores_stay_within_two_points(
    dtype: str, questions: tuple[Any, list[dict[str, Any]]]
) -> None:
    program, asked = questions

    def shares(name: str) -> tuple[float, float]:
        generate = program.mossrt_generate(TRAINED, name)
        outcomes = [program.ask(generate, question) for question in asked]
        commands = [o["command_right"] for o in outcomes if o["command_right"] is not None]
        answers = [o["fact_right"] and o["language_right"] for o in outcomes]
        return float(np.mean(commands)), float(np.mean(answers))

    for ours, wanted in zip(shares(dtype), shares("float32"), strict=True):
        assert wanted > 0.9
        assert ours >= wanted - 0.02


def test_the_bundled_model_answers_what_it_never_saw() -> None:
    """Exact commands and right answers, on every third question, by the program that counts them."""
    program = ROOT / "examples" / "tiny-moss" / "evaluate.py"
    done = subprocess.run(
        [sys.executable, str(program), "--every", "3"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for group in ("calculate and solve", "all"):
        assert re.search(rf"^{group} +\d+ of [1-9]\d* = ", done.stdout, re.M), done.stdout


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(SEPARATOR.join(dialogues(80)), encoding="utf-8")
    return file


def test_command_prints_a_table(text: Path) -> None:
    out, err = run("evaluate", TRAINED, "--text", text, "--dtype", "float32,bfloat16",
                   "--split", SEPARATOR)  # fmt: skip
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()]
    assert rows[0] == ["", "float32, cache float32 (reference)", "bfloat16, cache bfloat16"]
    named = {name: cells for name, *cells in rows[2:]}
    assert named["same top-1"][0] == "100.00 %"
    assert named["KL, mean"][0] == "0"
    assert 0 < float(named["KL, mean"][1]) < 1e-4
    layers = mossrt.inspect(TRAINED)["hyper_params"]["layers"]
    assert [name for name in named if name.startswith("error")] == [
        f"error after layer {layer}" for layer in range(layers)
    ]
    assert "tokens" in err


def test_command_as_json_is_the_report(text: Path) -> None:
    out, err = run("evaluate", TRAINED, "-f", text, "--dtype", "bfloat16,auto", "--reference",
                   "float16", "--kv", "float32,bfloat16", "--context", 50, "--json",
                   "--split", SEPARATOR, "--threads", 1, "-o", "verify_crc=false", "-q")  # fmt: skip
    assert err == ""
    expected = research.evaluate(
        TRAINED, dialogues(80), ["bfloat16", "auto"], "float16",
        kv_dtypes=["float32", "bfloat16"], context=50,
    )  # fmt: skip
    found = json.loads(out)
    assert found == json.loads(json.dumps(expected.as_dict()))
    assert [(one["dtype"], one["kv_dtype"], one["is_reference"]) for one in found["formats"]] == [
        ("float16", "float32", True),
        ("bfloat16", "float32", False),
        ("bfloat16", "bfloat16", False),
        ("auto", "float32", False),
        ("auto", "bfloat16", False),
    ]


def test_command_reads_ids_and_stdin() -> None:
    given = " ".join(map(str, IDS[:50])) + "\n"
    out, _ = run("evaluate", LLAMA, "--text", "-", "--ids", "--json", stdin=given)
    expected = research.evaluate(LLAMA, [IDS[:50]])
    assert json.loads(out) == json.loads(json.dumps(expected.as_dict()))
    out, _ = run("evaluate", LLAMA, "--text", "-", "--ids", stdin=given)
    assert "auto = bfloat16" in out


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message"),
    [
        ([MOSS], b"", 2, "--text"),
        ([MOSS, "--text", "nowhere.txt"], b"", 2, "nowhere.txt"),
        ([MOSS, "--text", MOSS], b"", 2, "moss"),
        ([MOSS, "--text", TRAINED / "pytorch_model-00001-of-00002.bin"], b"", 2, "UTF-8"),
        ([MOSS, "--text", "-"], b"a\xff", 2, "UTF-8"),
        ([MOSS, "--text", "-"], b"", 2, "too short"),
        ([MOSS, "--text", "-", "--split", ""], b"Hello", 2, "--split"),
        ([MOSS, "--text", "-", "--ids"], b"1 x", 2, "numbers"),
        ([MOSS, "--text", "README.md", "--dtype", "bfloat16,int3"], b"", 2, "int3"),
        ([MOSS, "--text", "README.md", "--dtype", "bfloat16,"], b"", 2, "commas"),
        ([MOSS, "--text", "README.md", "--reference", "int3"], b"", 2, "int3"),
        ([MOSS, "--text", "README.md", "--kv", "int3"], b"", 2, "int3"),
        ([MOSS, "--text", "README.md", "--context", "99999"], b"", 2, "positions"),
        ([MOSS, "--text", "README.md", "-o", "memory_limt=1"], b"", 2, "memory_limt"),
        ([MOSS, "--text", "README.md", "-o", "memory_limit=1000"], b"", 4, "weights"),
        ([MOSS, "--text", "README.md", "-o", "backend=eigen"], b"", 2, "--backend"),
        ([LLAMA, "--text", "README.md"], b"", 3, "tokenizer"),
        (["nowhere", "--text", "README.md"], b"", 3, "nowhere"),
    ],
)
def test_exit_codes(arguments: list[Any], stdin: bytes, code: int, message: str) -> None:
    out, err = run("evaluate", *arguments, stdin=stdin, code=code)
    assert message in err
    assert out == ""


def test_command_refuses_logits_that_are_not_finite(not_finite: Path) -> None:
    out, err = run("evaluate", not_finite, "--text", "-", "--ids", stdin="1 2 3", code=3)
    assert "not all finite" in err
    assert out == ""
