"""Session: rows, views, hooks, forks, one call at a time."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import mossrt

IDS = [14, 15, 16]


def test_rows_and_their_types(model: mossrt.Model, vocab: int) -> None:
    hidden = model.info["hyper_params"]["hidden"]
    with model.session() as session:
        session.eval(IDS, logits="all", hidden=(0, 1))
        assert session.logits.shape == (3, vocab)
        assert session.hidden(1).shape == (3, hidden)
        session.eval(np.array([17, 18]))
        assert session.logits.shape == (1, vocab)
        assert session.logits.dtype == session.read_logits(copy=False).dtype == np.float32
        assert session.tokens.dtype == np.int32
        assert [int(i) for i in session.tokens] == [*IDS, 17, 18]
        assert session.info["tokens"] == 5
        assert "5 tokens" in repr(session)


def test_what_was_not_kept_is_an_error_that_says_how(model: mossrt.Model) -> None:
    with model.session() as session:
        session.eval(IDS, logits="none")
        with pytest.raises(mossrt.Error, match="logits") as caught:
            _ = session.logits
        assert caught.value.code == mossrt.Code.STATE
        with pytest.raises(mossrt.Error, match="hidden"):
            session.hidden(0)


def test_copies_belong_to_the_caller(model: mossrt.Model) -> None:
    with model.session() as session:
        session.eval(IDS)
        first = session.logits
        kept = first.copy()
        first[:] = 0
        assert np.array_equal(session.logits, kept)
        session.eval([99])
        assert not np.array_equal(session.logits, kept)
    assert first.shape == kept.shape


def test_views_are_read_only_and_keep_the_memory_in_place(model: mossrt.Model) -> None:
    session = model.session()
    session.eval(IDS, hidden=(0,))
    logits, hidden = session.read_logits(copy=False), session.hidden(0, copy=False)
    assert np.array_equal(logits, session.logits)
    assert np.array_equal(hidden, session.hidden(0))
    for view in (logits, hidden):
        with pytest.raises(ValueError, match="read-only"):
            view[:] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
    for change in (
        lambda: session.eval([1]),
        lambda: session.rewind(0),
        lambda: session.generate(max_new_tokens=1),
    ):
        with pytest.raises(BufferError, match="2 view"):
            change()
    part = logits[0, :5]  # a view of the view counts as well
    del logits, hidden, view
    with pytest.raises(BufferError, match="1 view"):
        session.eval([1])
    expected = session.logits[0, :5]
    session.close()
    assert np.array_equal(part, expected)  # the memory outlives close()


def test_closed_sessions(model: mossrt.Model) -> None:
    with model.session() as session:
        session.eval(IDS)
        assert not session.closed
    assert session.closed
    session.close()
    for use in (lambda: session.eval([1]), lambda: session.tokens, lambda: session.fork()):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_rewind_and_fork(model: mossrt.Model) -> None:
    with model.session() as session:
        session.eval(IDS)
        expected = session.logits
        with session.fork() as other:
            other.eval([50])
            assert [int(i) for i in other.tokens] == [*IDS, 50]
        session.rewind(2)
        session.eval(IDS[2:])
        assert np.array_equal(session.logits, expected)
        for bad in (-1, 4):
            with pytest.raises(ValueError, match="tokens"):
                session.rewind(bad)


def test_a_full_context_changes_nothing(model: mossrt.Model) -> None:
    with model.session(context=4) as session:
        session.eval(IDS)
        with pytest.raises(mossrt.ContextFull) as caught:
            session.eval([1, 2])
        assert caught.value.code == mossrt.Code.CONTEXT_FULL
        assert len(session.tokens) == 3


def test_cache_types(model: mossrt.Model) -> None:
    with model.session() as wide, model.session(kv_dtype="bfloat16") as narrow:
        wide.eval(IDS)
        narrow.eval(IDS)
        assert narrow.info["kv_bytes"] < wide.info["kv_bytes"]
        assert np.allclose(wide.logits, narrow.logits, atol=0.05)


def test_generation_goes_on_where_the_session_stands(model: mossrt.Model) -> None:
    whole = model.generate(IDS, 6, False, eos_token_id=[])
    with model.session() as session:
        first = session.generate(IDS, 3, False, eos_token_id=[])
        second = session.generate(max_new_tokens=3, do_sample=False, eos_token_id=[])
        assert [int(i) for i in session.tokens] == [*IDS, *first.ids, *second.ids]
    assert [*first.ids, *second.ids] == list(whole.ids)
    assert second.stats.prompt_tokens == 0
    with model.session() as empty, pytest.raises(ValueError, match="empty"):
        empty.generate()


def test_hooks_see_and_change(model: mossrt.Model) -> None:
    with model.session() as session:
        session.eval(IDS, logits="all")
        plain = session.logits
        session.rewind(0)
        calls: list[mossrt.HookCall] = []
        with session.hook("resid", calls.append):
            session.eval(IDS[:2], logits="all")
            session.eval(IDS[2:], logits="all")
        assert [(c.name, c.layer, c.position) for c in calls] == [
            ("resid", 0, 0),
            ("resid", 1, 0),
            ("resid", 0, 2),
            ("resid", 1, 2),
        ]
        assert calls[0].values.shape == (2, model.info["hyper_params"]["hidden"])
        session.rewind(0)

        def double(call: mossrt.HookCall) -> None:
            call.values *= 2

        def negate(call: mossrt.HookCall) -> None:
            call.values = -call.values

        handle = session.hook("logits", double)
        session.hook("logits", negate).remove()
        session.eval(IDS, logits="all")
        assert np.array_equal(session.logits, 2 * plain)
        session.rewind(0)
        with session.hook("logits", negate):
            session.eval(IDS, logits="all")
        assert np.array_equal(session.logits, -2 * plain)
        handle.remove()
        handle.remove()
        session.rewind(0)
        session.eval(IDS, logits="all")
        assert np.array_equal(session.logits, plain)


def test_zeroing_a_head_equals_numpy(model: mossrt.Model) -> None:
    import reference_data

    reference = reference_data.load("moss")
    values = reference.values
    width = model.info["hyper_params"]["head_dim"]
    head = values["zeroed_head"]

    def zero(call: mossrt.HookCall) -> None:
        call.values[:, head * width : (head + 1) * width] = 0

    exact = reference_data.open_model("moss", dtype="float32")
    with exact.session() as session:
        session.hook("attn_out", zero, layer=values["zeroed_layer"])
        session.eval(reference.short, logits="all")
        difference = np.abs(session.logits - reference.array("zeroed_head_logits"))
    assert difference.max() <= 2 * reference.torch_error("logits_f64")


def test_several_hooks_at_one_place(model: mossrt.Model) -> None:
    order: list[str] = []
    with model.session() as session:
        first = session.hook("embed", lambda call: order.append("first"))
        second = session.hook("embed", lambda call: order.append("second"))
        session.eval([1])
        first.remove()
        session.eval([1])
        second.remove()
        session.eval([1])
    assert order == ["first", "second", "second"]


def test_arrays_that_hooks_keep_stay_as_they_were(model: mossrt.Model) -> None:
    kept: list[Any] = []
    with model.session() as session:
        session.hook("resid", lambda call: kept.append((call.values, call.values.copy())), layer=0)
        for token in range(5):
            session.eval([token])
    gc.collect()
    assert all(np.array_equal(array, copy) for array, copy in kept)


def test_wrong_hooks(model: mossrt.Model) -> None:
    with model.session() as session:
        with pytest.raises(ValueError, match="embed"):
            session.hook("embedding", print)
        with pytest.raises(ValueError, match="layer"):
            session.hook("resid", print, layer=2)
        with pytest.raises(ValueError, match="layer"):
            session.hook("resid", print, layer=-1)
        with pytest.raises(ValueError, match="no layers"):
            session.hook("embed", print, layer=0)
        with pytest.raises(TypeError, match="callable"):
            session.hook("embed", 3)  # type: ignore[arg-type]
        for wrong, error, text in (
            (lambda call: call.values, TypeError, "must return None"),
            (lambda call: 1 / 0, ZeroDivisionError, "zero"),
            (lambda call: setattr(call, "values", np.zeros(7)), ValueError, "broadcast"),
        ):
            with session.hook("embed", wrong), pytest.raises(error, match=text):
                session.eval([1])
        session.rewind(0)
        session.eval(IDS)  # the session goes on


def test_calls_from_within_a_hook_are_busy(model: mossrt.Model) -> None:
    with model.session() as session:
        session.hook("embed", lambda call: session.tokens and None)
        with pytest.raises(mossrt.Busy) as caught:
            session.eval(IDS)
    assert caught.value.code == mossrt.Code.BUSY


def test_two_threads_on_one_session(slow_prompt: tuple[mossrt.Model, Any]) -> None:
    slow, ids = slow_prompt
    monitor = mossrt.Monitor()
    with slow.session() as session:
        ended: list[BaseException] = []

        def work() -> None:
            try:
                session.eval(ids, monitor=monitor)
            except mossrt.Cancelled as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        started = threading.Event()
        handle = session.hook("embed", lambda call: started.set())
        thread.start()
        assert started.wait(30)
        for call in (lambda: session.eval([1]), lambda: session.tokens, handle.remove):
            with pytest.raises(mossrt.Busy):
                call()
        session.close()  # frees nothing that the other thread still uses
        monitor.cancel()
        thread.join(30)
        assert not thread.is_alive()
        assert len(ended) == 1


def test_sessions_with_hooks_are_freed(model: mossrt.Model) -> None:
    session = model.session()
    handle = session.hook("embed", lambda call: None)
    session.eval([1])
    gone = weakref.ref(session)
    del session, handle
    gc.collect()
    assert gone() is None
