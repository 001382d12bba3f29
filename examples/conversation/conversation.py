# Needs: libmossrt.so.0.1 where the system looks for libraries, or its folder in LD_LIBRARY_PATH
# Run:   python3 conversation.py ../tiny-moss/model
import ctypes
import sys
from contextlib import ExitStack, suppress
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from typing import Any

QUESTIONS = ("Hello!", "1234乘以5678=?", "What is 12 / 34?")
EVENTS = ("", "thought", "command", "result", "answer", "citation", "notice")
OPTIONS_GENERATE, OPTIONS_CHAT, RUN_COMMANDS = 3, 8, 2
lib = ctypes.CDLL("libmossrt.so.0.1")
lib.mossrt_error_message.restype = c_char_p


def call(name: str, *arguments: Any) -> Any:  # types among them are out parameters, returned
    values = [a() if isinstance(a, type) else a for a in arguments]
    outs = [value for value, a in zip(values, arguments) if isinstance(a, type)]
    function = lib["mossrt_" + name]
    function.restype = c_void_p
    if error := c_void_p(function(*(byref(v) if v in outs else v for v in values))):
        message = lib.mossrt_error_message(error).decode()
        lib.mossrt_error_free(error)
        raise RuntimeError(message)
    return outs[0].value if len(outs) == 1 else [out.value for out in outs]


def create(owner: ExitStack, kind: str, name: str, *arguments: Any) -> c_void_p:
    handle = c_void_p(call(name, *arguments, c_void_p))
    owner.callback(lib[f"mossrt_{kind}_free"], handle)
    return handle


def turn(chat: c_void_p, session: c_void_p, sampling: c_void_p, question: bytes) -> None:
    shown, more = 0, 0
    call("chat_send", chat, question, c_size_t(len(question)))
    print("> " + question.decode(), end="")
    with ExitStack() as fields:  # the generations that write them
        while action := call("chat_next", chat, None, c_size_t(0), c_int32, None, None, None):
            if action == RUN_COMMANDS:
                for index in map(c_size_t, range(call("chat_commands", chat, c_size_t))):
                    _, text, n = call("chat_command", chat, index, c_char_p, c_char_p, c_size_t)
                    value, size = None, 0  # as it stays if the calculation fails: the model is told
                    with suppress(RuntimeError):
                        value, size = call("calculate", text, c_size_t(n), c_void_p, c_size_t)
                    call("chat_set_result", chat, index, c_void_p(value), c_size_t(size))
                    lib.mossrt_free(c_void_p(value))
                call("chat_end_commands", chat)
            elif not more:
                call("chat_eval", chat, session, None)
                writer = create(fields, "generation", "generation_start", session, sampling, None)
                more = 1
            else:
                token, finish = call("generation_next", writer, c_int32, None, None, c_int32)
                more = token >= 0 and call("chat_push", chat, token, c_int32)
                if token < 0:
                    call("chat_end", chat, finish)
            while (event := call("chat_event", chat, c_int32, c_char_p, None, None, None))[0]:
                print("" if event[0] == shown else f"\n[{EVENTS[event[0]]}] ", end="")
                print(event[1].decode(), end="", flush=True)
                shown = event[0]
    print()


try:
    with ExitStack() as own:
        model = create(own, "model", "model_load", "".join(sys.argv[1:2]).encode(), None, None)
        tokenizer = create(own, "tokenizer", "model_tokenizer", model)
        session = create(own, "session", "session_create", model, None)
        plugins = create(own, "options", "options_create", OPTIONS_CHAT)
        call("options_set_str", plugins, b"plugins", b"Calculate", c_size_t(9))
        chat = create(own, "chat", "chat_create", tokenizer, plugins)
        sampling = create(own, "options", "options_create", OPTIONS_GENERATE)
        call("options_set_int", sampling, b"seed", c_int64(1))
        call("chat_set_options", chat, sampling)
        for question in QUESTIONS:
            turn(chat, session, sampling, question.encode())
except RuntimeError as error:
    sys.exit(str(error))
