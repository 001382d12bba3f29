"""Model: loading, options, generation, pickling, threads."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mossrt
from conftest import LLAMA, MOSS, TRAINED

PROMPT = [14, 15, 16, 17]


def ids_of(out: mossrt.Output) -> list[int]:
    return [int(token) for token in out.ids]


def test_what_a_model_says_of_itself(model: mossrt.Model) -> None:
    assert model.info["architecture"] == "moss"
    assert model.info["hyper_params"]["layers"] == 2
    assert model.config["n_embd"] == model.info["hyper_params"]["hidden"]
    assert isinstance(model.tokenizer, mossrt.Tokenizer)
    assert model.tokenizer is model.tokenizer
    assert "moss" in repr(model)


@pytest.mark.parametrize("path", [str(MOSS), MOSS, MOSS / "."])
def test_kinds_of_paths(path: Any) -> None:
    assert mossrt.Model.from_pretrained(path).info["architecture"] == "moss"


def test_positions_of_the_promised_arguments() -> None:
    loaded = mossrt.Model.from_pretrained(str(MOSS), "float32", 1, "reference", False)
    info = loaded.info
    assert (info["dtype"], info["threads"], info["backend"]) == ("float32", 1, "reference")


def test_progress_is_told_in_bytes() -> None:
    seen: list[tuple[str, int, int]] = []
    mossrt.Model.from_pretrained(MOSS, progress=lambda *call: seen.append(call))
    stage, done, total = seen[-1]
    assert stage == "load"
    assert done == total > 0
    assert all(0 <= one[1] <= one[2] for one in seen)


def test_what_progress_raises_the_call_raises() -> None:
    def refuse(stage: str, done: int, total: int) -> None:
        raise RuntimeError(f"enough of {stage}")

    with pytest.raises(RuntimeError, match="enough of load"):
        mossrt.Model.from_pretrained(MOSS, progress=refuse)


def test_generate(model: mossrt.Model) -> None:
    out = model.generate(PROMPT, max_new_tokens=5, do_sample=False, eos_token_id=[])
    assert out.ids.dtype == np.int32
    assert out.ids.shape == (5,)
    assert out.logprobs.dtype == np.float32
    assert out.logprobs.shape == (5,)
    assert np.all(out.logprobs <= 0)
    assert out.finish_reason == "length"
    assert out.text == model.tokenizer.decode(out.ids, skip_special_tokens=True)
    assert out.stats.prompt_tokens == len(PROMPT)
    assert out.stats.new_tokens == 5
    assert out.stats.seconds > 0
    assert out.stats.tokens_per_second > 0
    assert out.top_logprobs == [()] * 5


def test_greedy_equals_the_argmax_of_a_session(model: mossrt.Model) -> None:
    out = model.generate(
        PROMPT, max_new_tokens=8, do_sample=False, repetition_penalty=1.0, eos_token_id=[]
    )
    found = []
    with model.session() as session:
        session.eval(PROMPT)
        for _ in range(8):
            logits = session.logits[0][: len(model.tokenizer)]
            found.append(int(np.argmax(logits)))
            session.eval(found[-1:])
    assert ids_of(out) == found


def test_logprobs_are_those_of_the_logits(model: mossrt.Model) -> None:
    out = model.generate(PROMPT, max_new_tokens=1, do_sample=False, top_logprobs=3)
    with model.session() as session:
        session.eval(PROMPT)
        logits = session.logits[0].astype(np.float64)
    logprobs = logits - np.log(np.sum(np.exp(logits - logits.max()))) - logits.max()
    assert out.logprobs[0] == pytest.approx(logprobs[out.ids[0]], abs=1e-5)
    best = out.top_logprobs[0]
    assert [top.token for top in best] == [int(i) for i in np.argsort(-logprobs)[:3]]
    assert best[1].logprob == pytest.approx(logprobs[best[1].token], abs=1e-5)


def test_seeds(model: mossrt.Model) -> None:
    def draw(seed: int) -> list[int]:
        return ids_of(model.generate(PROMPT, 12, True, seed, temperature=2.0, top_p=1.0))

    assert draw(1) == draw(1)
    assert len({tuple(draw(seed)) for seed in range(5)}) > 1
    assert draw(2**64 - 1) == draw(2**64 - 1)


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT,
        tuple(PROMPT),
        range(14, 18),
        np.array(PROMPT),
        np.array(PROMPT, np.int32),
        np.array(PROMPT, np.uint8),
        np.array([[14, 0], [15, 0], [16, 0], [17, 0]], np.int64)[:, 0],
        [np.int64(14), np.int32(15), 16, 17],
    ],
)
def test_kinds_of_ids(model: mossrt.Model, prompt: Any) -> None:
    expected = model.generate(PROMPT, max_new_tokens=3, do_sample=False)
    assert ids_of(model.generate(prompt, max_new_tokens=3, do_sample=False)) == ids_of(expected)


def test_text_prompts_are_plain_unless_asked(model: mossrt.Model) -> None:
    plain = model.generate("<eom>", max_new_tokens=1)
    parsed = model.generate("<eom>", max_new_tokens=1, parse_special=True)
    assert plain.stats.prompt_tokens > parsed.stats.prompt_tokens == 1


def test_stream_gives_what_generate_gives(model: mossrt.Model) -> None:
    options: dict[str, Any] = {"max_new_tokens": 20, "do_sample": True, "seed": 3}
    out = model.generate("hello", **options)
    with model.stream("hello", **options) as stream:
        chunks = list(stream)
    assert "".join(chunk.text for chunk in chunks) == out.text
    assert [chunk.token for chunk in chunks] == ids_of(out)
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason == out.finish_reason
    assert chunks[0].logprob == pytest.approx(float(out.logprobs[0]))
    assert stream.stats.new_tokens == len(chunks)
    assert list(stream) == []  # it stays at its end


def test_nothing_to_make(model: mossrt.Model) -> None:
    out = model.generate(PROMPT, max_new_tokens=0)
    assert (out.text, ids_of(out), out.finish_reason) == ("", [], "length")
    assert out.logprobs.shape == (0,)


def test_finish_reasons(model: mossrt.Model) -> None:
    greedy: dict[str, Any] = {"do_sample": False, "repetition_penalty": 1.0}
    ids = ids_of(model.generate(PROMPT, max_new_tokens=4, eos_token_id=[], **greedy))
    stopped = model.generate(PROMPT, max_new_tokens=4, eos_token_id=ids[1], **greedy)
    end = ids.index(ids[1]) + 1
    assert (ids_of(stopped), stopped.finish_reason) == (ids[:end], "stop_token")
    with model.session(context=6) as session:
        full = session.generate(PROMPT, eos_token_id=[], **greedy)
    assert (ids_of(full), full.finish_reason) == (ids[:2], "context_full")


@pytest.mark.parametrize("name", ["stop", "stop_strings"])
def test_stop_strings(model: mossrt.Model, name: str) -> None:
    def only(token: int) -> Any:
        def process(ids: Any, logits: Any) -> None:
            logits[:] = -1e9
            logits[token] = 0

        return process

    letter = int(model.tokenizer.encode("a")[0])
    stop: Any = "aaa" if name == "stop" else ["b", "aaa"]
    out = model.generate(PROMPT, 9, logits_processor=only(letter), **{name: stop})
    assert (out.text, out.finish_reason, len(out.ids)) == ("", "stop_string", 3)
    with pytest.raises(ValueError, match="same option"):
        model.generate(PROMPT, stop="a", stop_strings="b")


def test_logits_processors(model: mossrt.Model, vocab: int) -> None:
    seen: list[tuple[list[int], tuple[int, ...]]] = []

    def look(ids: Any, logits: Any) -> None:
        seen.append(([int(i) for i in ids], logits.shape))
        logits[42] += 1000.0

    def instead(ids: Any, logits: Any) -> Any:
        return np.where(np.arange(vocab) == len(ids), logits.max() + 1.0, logits)

    out = model.generate(PROMPT, max_new_tokens=2, do_sample=False, logits_processor=look)
    assert ids_of(out) == [42, 42]
    assert seen == [(PROMPT, (vocab,)), ([*PROMPT, 42], (vocab,))]
    out = model.generate(
        PROMPT, max_new_tokens=2, do_sample=False, logits_processor=[look, instead]
    )
    assert ids_of(out) == [4, 5]


@pytest.mark.parametrize(
    ("result", "error"), [(np.zeros(3), ValueError), ("no", TypeError), (object(), TypeError)]
)
def test_wrong_results_of_processors(model: mossrt.Model, result: Any, error: Any) -> None:
    with pytest.raises(error, match="a callback"):
        model.generate(PROMPT, logits_processor=lambda ids, logits: result)


def test_what_a_processor_raises_generate_raises(model: mossrt.Model) -> None:
    def fail(ids: Any, logits: Any) -> None:
        raise ZeroDivisionError("from the processor")

    with pytest.raises(ZeroDivisionError, match="from the processor"):
        model.generate(PROMPT, logits_processor=fail)
    with pytest.raises(TypeError, match="must be callable"):
        model.generate(PROMPT, logits_processor=[3])  # type: ignore[list-item]


def test_origins_of_options(model: mossrt.Model) -> None:
    options = {o.key: o for o in model.generation_options(top_k=7)}
    assert options["top_k"] == ("top_k", 7, "argument")
    assert options["temperature"] == ("temperature", 0.7, "recipe:moss")
    assert options["seed"].origin == "default"
    out = model.generate(PROMPT, max_new_tokens=1, top_k=7)
    assert out.options == model.generation_options(max_new_tokens=1, top_k=7)


def test_described_options_are_the_ones_there_are(model: mossrt.Model) -> None:
    described = [option["name"] for option in mossrt.describe_options("generate")]
    assert described == [option.key for option in model.generation_options()]
    with pytest.raises(ValueError, match="load, session, generate, eval, tokenizer"):
        mossrt.describe_options("loads")


def test_models_without_tokenizer_generate_from_ids() -> None:
    llama = mossrt.Model.from_pretrained(LLAMA)
    out = llama.generate(PROMPT, max_new_tokens=3, do_sample=False)
    assert len(out.ids) == 3
    assert out.text == ""
    with pytest.raises(FileNotFoundError, match="tokenizer") as caught:
        _ = llama.tokenizer
    assert caught.value.code == mossrt.Code.NOT_FOUND
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        llama.generate("text")


def test_tensors(model: mossrt.Model) -> None:
    tensors = {t["name"]: t for t in mossrt.inspect(MOSS)["tensors"]}
    for name in ("transformer.wte.weight", "transformer.h.0.attn.qkv_proj.weight"):
        values = model.tensor(name)
        assert values.dtype == np.float32
        assert list(values.shape) == tensors[name]["shape"]
    with model.session() as session:
        session.eval(PROMPT, hidden=(0,))
        seen: list[Any] = []
        session.hook("embed", lambda call: seen.append(call.values))
        session.eval([20])
    assert np.array_equal(seen[0][0], model.tensor("transformer.wte.weight")[20])


def test_inspect() -> None:
    found = mossrt.inspect(MOSS, dtype="float32")
    assert found["dtype"] == "float32"
    assert found["memory"]["weights"] > 0
    assert found["parameters"] == mossrt.Model.from_pretrained(MOSS).info["parameters"]
    assert found["tokenizer"]["kind"] == "byte-level-bpe"


def test_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"dtype": "float32", "threads": 1}
    made = mossrt.Model.from_pretrained(os.path.relpath(MOSS), **options)
    data = pickle.dumps(made)
    assert len(data) < 1000  # the recipe, not the weights
    monkeypatch.chdir("/")  # paths are kept absolute
    copy = pickle.loads(data)
    assert copy.info["dtype"] == "float32"
    assert ids_of(copy.generate(PROMPT, 5, False)) == ids_of(made.generate(PROMPT, 5, False))
    with made.session() as session:
        for thing in (session, made.stream(PROMPT), mossrt.Monitor()):
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(thing)


def test_pickle_into_another_process(tmp_path: Path) -> None:
    program = (
        "import multiprocessing, mossrt\n"
        "def work(model): return [int(i) for i in model.generate([14, 15], 4, False).ids]\n"
        "if __name__ == '__main__':\n"
        f"    model = mossrt.Model.from_pretrained({str(MOSS)!r})\n"
        "    for method in ('spawn', 'fork'):\n"
        "        with multiprocessing.get_context(method).Pool(1) as pool:\n"
        "            assert pool.map(work, [model]) == [work(model)], method\n"
    )
    file = tmp_path / "program.py"
    file.write_text(program)
    subprocess.run([sys.executable, file], check=True, timeout=120)


def test_threads_share_a_model(model: mossrt.Model) -> None:
    expected = [ids_of(model.generate([start, 20], 10, False)) for start in range(4)]
    found: list[list[int] | None] = [None] * 4

    def work(start: int) -> None:
        found[start] = ids_of(model.generate([start, 20], 10, False))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_the_trained_model_answers() -> None:
    trained = mossrt.Model.from_pretrained(TRAINED)
    prompt = "<|Human|>: Hello!<eoh>\n<|MOSS|>:"
    out = trained.generate(prompt, parse_special=True, do_sample=False, max_new_tokens=40)
    assert out.finish_reason == "stop_token"
    assert "MOSS" in out.text


def test_save_packed(tmp_path: Path) -> None:
    path = tmp_path / "m.mossrt"
    stages: list[str] = []
    source = mossrt.Model.from_pretrained(MOSS, dtype="int4")
    source.save_packed(path, progress=lambda stage, done, total: stages.append(stage))
    assert set(stages) == {"write"}
    ids = np.arange(20, 40, dtype=np.int32)

    def logits(model: mossrt.Model) -> NDArray[np.float32]:
        with model.session() as s:
            s.eval(ids, logits="all")
            return np.array(s.logits)

    for options in ({}, {"mmap": True}, {"mmap": True, "verify_crc": False}):
        packed = mossrt.Model.from_pretrained(path, **options)  # type: ignore[arg-type]
        assert packed.info["numerics"] == source.info["numerics"]
        assert packed.info["packed"]["dtype"] == "int4"
        np.testing.assert_array_equal(logits(packed), logits(source))
        assert list(packed.tokenizer.encode("one two")) == list(source.tokenizer.encode("one two"))
    assert mossrt.inspect(path)["packed"]["made_from"] == "moss"
    # A tokenizer alone, and a copy of a model in another process, come from the file too.
    assert len(mossrt.Tokenizer.from_pretrained(path)) == len(source.tokenizer)
    np.testing.assert_array_equal(logits(pickle.loads(pickle.dumps(packed))), logits(source))
    monitor = mossrt.Monitor()
    monitor.cancel()
    with pytest.raises(mossrt.Cancelled):
        source.save_packed(tmp_path / "other", monitor=monitor)
    with pytest.raises(ValueError, match="native"):
        mossrt.Model.from_pretrained(MOSS, backend="reference").save_packed(tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["m.mossrt"]
