# Needs: libmossrt.so.0.1 where the system looks for libraries, or its folder in LD_LIBRARY_PATH
# Run:   python3 conversation.py ../tiny-moss/model
import ctypes
import sys
from contextlib import ExitStack
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from typing import Any

QUESTIONS = ("Hello!", "1234乘以5678=?", "What is 12 / 34?")
EVENTS = ("", "thought", "command", "result", "answer", "citation", "notice")
OPTIONS_GENERATE, OPTIONS_CHAT = 3, 8
lib = ctypes.CDLL("libmossrt.so.0.1")
lib.mossrt_error_message.restype = c_char_p


def call(name: str, *arguments: Any) -> None:
    function = lib["mossrt_" + name]
    function.restype = c_void_p
    if error := c_void_p(function(*arguments)):
        message = lib.mossrt_error_message(error).decode()
        lib.mossrt_error_free(error)
        raise RuntimeError(message)


def create(owner: ExitStack, kind: str, name: str, *arguments: Any) -> c_void_p:
    handle = c_void_p()
    call(name, *arguments, byref(handle))
    owner.callback(lib[f"mossrt_{kind}_free"], handle)
    return handle


def turn(chat: c_void_p, session: c_void_p, sampling: c_void_p, question: bytes) -> None:
    kind, text, shown = c_int32(), c_char_p(), 0
    call("chat_send", chat, question, c_size_t(len(question)))
    print("> " + question.decode(), end="")
    while True:
        outs = byref(kind), byref(text), None, None, None
        call("chat_advance", chat, session, sampling, None, *outs)
        if kind.value == 0:
            break
        if kind.value != shown:
            print(f"\n[{EVENTS[kind.value]}] ", end="")
        print((text.value or b"").decode(), end="", flush=True)
        shown = kind.value
    print()


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else ""
    with ExitStack() as own:
        model = create(own, "model", "model_load", path.encode(), None, None)
        tokenizer = create(own, "tokenizer", "model_tokenizer", model)
        session = create(own, "session", "session_create", model, None)
        plugins = create(own, "options", "options_create", OPTIONS_CHAT)
        call("options_set_str", plugins, b"plugins", b"Calculate", c_size_t(len(b"Calculate")))
        chat = create(own, "chat", "chat_create", tokenizer, plugins)
        call("chat_add_builtin_plugin", chat, b"Calculate")
        sampling = create(own, "options", "options_create", OPTIONS_GENERATE)
        call("options_set_int", sampling, b"seed", c_int64(1))
        for question in QUESTIONS:
            turn(chat, session, sampling, question.encode())


try:
    main()
except RuntimeError as error:
    sys.exit(str(error))
