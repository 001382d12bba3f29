-- Needs: pkg-config, and libmossrt.so.0.1 where the system or LD_LIBRARY_PATH has it
-- Run:   luajit conversation.lua ../tiny-moss/model
local ffi = require("ffi")
local lib = ffi.load("libmossrt.so.0.1")
local folder = assert(io.popen("pkg-config --variable=includedir mossrt"):read(), "no mossrt.pc")
-- The header is plain C once its preprocessor lines are gone.
local header = assert(io.open(folder .. "/mossrt/mossrt.h")):read("*a"):gsub("\\\n", "")
ffi.cdef((header:gsub("\n#[^\n]*", ""):gsub("MOSSRT_API", ""):gsub('extern "C" {(.*)}', "%1")))
local function constant(name) return tonumber(header:match("MOSSRT_" .. name .. " +(%d+)")) end
local events = {"thought", "command", "result", "answer", "citation", "notice"}

local function check(e)
  if e == nil then return end
  io.stderr:write(ffi.string(lib.mossrt_error_message(e)), "\n")
  lib.mossrt_error_free(e)
  os.exit(1, true) -- and everything is collected
end

-- A handle, which the garbage collector frees.
local function create(kind, call, ...)
  local out, n, arguments = ffi.new("mossrt_" .. kind .. "*[1]"), select("#", ...) + 1, {...}
  arguments[n] = out
  check(call(unpack(arguments, 1, n)))
  return ffi.gc(out[0], lib["mossrt_" .. kind .. "_free"])
end

local function turn(chat, session, sampling, question)
  local kind, text, len = ffi.new("int32_t[1]"), ffi.new("const char*[1]"), ffi.new("size_t[1]")
  local shown = 0
  check(lib.mossrt_chat_send(chat, question, #question))
  io.write("> ", question)
  while true do
    check(lib.mossrt_chat_advance(chat, session, sampling, nil, kind, text, len, nil, nil))
    if kind[0] == constant("CHAT_EVENT_NONE") then break end
    if kind[0] ~= shown then io.write("\n[", events[kind[0]], "] ") end
    io.write(ffi.string(text[0], len[0]))
    io.flush()
    shown = kind[0]
  end
  print()
end

local model = create("model", lib.mossrt_model_load, arg[1] or "", nil, nil)
local tokenizer = create("tokenizer", lib.mossrt_model_tokenizer, model)
local session = create("session", lib.mossrt_session_create, model, nil)
local plugins = create("options", lib.mossrt_options_create, constant("OPTIONS_CHAT"))
check(lib.mossrt_options_set_str(plugins, "plugins", "Calculate", #"Calculate"))
local chat = create("chat", lib.mossrt_chat_create, tokenizer, plugins)
check(lib.mossrt_chat_add_builtin_plugin(chat, "Calculate"))
local sampling = create("options", lib.mossrt_options_create, constant("OPTIONS_GENERATE"))
check(lib.mossrt_options_set_int(sampling, "seed", 1))
for _, question in ipairs({"Hello!", "1234乘以5678=?", "What is 12 / 34?"}) do
  turn(chat, session, sampling, question)
end
