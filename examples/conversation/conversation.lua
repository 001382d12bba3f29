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

local function calculate(chat, index)
  local text, value, len = ffi.new("const char*[2]"), ffi.new("char*[1]"), ffi.new("size_t[1]")
  check(lib.mossrt_chat_command(chat, index, text, text + 1, len))
  lib.mossrt_error_free(lib.mossrt_calculate(text[1], len[0], value, len))
  local failed = value[0] == nil -- and the model is told so
  check(lib.mossrt_chat_set_result(chat, index, value[0], failed and 0 or len[0]))
  lib.mossrt_free(value[0])
end

local function turn(chat, session, sampling, question)
  local int = ffi.new("struct { int32_t action[1], token[1], finish[1], more[1], kind[1]; }")
  local text, len, shown, writer = ffi.new("const char*[1]"), ffi.new("size_t[1]"), 0, nil
  check(lib.mossrt_chat_send(chat, question, #question))
  io.write("> ", question)
  while true do
    check(lib.mossrt_chat_next(chat, nil, 0, int.action, nil, nil, nil))
    if int.action[0] == constant("CHAT_DONE") then return print() end
    if int.action[0] == constant("CHAT_RUN_COMMANDS") then
      check(lib.mossrt_chat_commands(chat, len))
      for index = 0, tonumber(len[0]) - 1 do calculate(chat, index) end
      check(lib.mossrt_chat_end_commands(chat))
    elseif not writer then
      check(lib.mossrt_chat_eval(chat, session, nil))
      writer = create("generation", lib.mossrt_generation_start, session, sampling, nil)
    else
      check(lib.mossrt_generation_next(writer, int.token, nil, nil, int.finish))
      if int.token[0] >= 0 then check(lib.mossrt_chat_push(chat, int.token[0], int.more)) end
      if int.token[0] < 0 then check(lib.mossrt_chat_end(chat, int.finish[0])) end
      if int.token[0] < 0 or int.more[0] == 0 then writer = nil end
    end
    while true do
      check(lib.mossrt_chat_event(chat, int.kind, text, len, nil, nil))
      local kind = int.kind[0]
      if kind == 0 then break end
      io.write(kind ~= shown and "\n[" .. events[kind] .. "] " or "", ffi.string(text[0], len[0]))
      io.flush()
      shown = kind
    end
  end
end

local model = create("model", lib.mossrt_model_load, arg[1] or "", nil, nil)
local tokenizer = create("tokenizer", lib.mossrt_model_tokenizer, model)
local session = create("session", lib.mossrt_session_create, model, nil)
local plugins = create("options", lib.mossrt_options_create, constant("OPTIONS_CHAT"))
check(lib.mossrt_options_set_str(plugins, "plugins", "Calculate", #"Calculate"))
local chat = create("chat", lib.mossrt_chat_create, tokenizer, plugins)
local sampling = create("options", lib.mossrt_options_create, constant("OPTIONS_GENERATE"))
check(lib.mossrt_options_set_int(sampling, "seed", 1))
check(lib.mossrt_chat_set_options(chat, sampling))
for _, question in ipairs({"Hello!", "1234乘以5678=?", "What is 12 / 34?"}) do
  turn(chat, session, sampling, question)
end
