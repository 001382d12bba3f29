# Needs: pkg-config, and libmossrt.so.0.1 where the system or LD_LIBRARY_PATH has it
# Run:   ruby conversation.rb ../tiny-moss/model
require "fiddle/import"

module Mossrt
  extend Fiddle::Importer
  dlload "libmossrt.so.0.1"
  header = File.read("#{`pkg-config --variable=includedir mossrt`.strip}/mossrt/mossrt.h")
  header.scan(/^MOSSRT_API ((?:(?!_fn)[^;])+);/) { |(function)| extern function.gsub(/\s+/, " ") }
  header.scan(/^#define MOSSRT_(\w+)[ \\\n]+(\d+)/) { |name, value| const_set(name, value.to_i) }
  OUT = {int: "int32_t", size: "size_t", pointer: "void*"}.transform_values { struct ["#{_1} its"] }
  EVENTS = ["", "thought", "command", "result", "answer", "citation", "notice"].freeze

  # Calls mossrt_<name>; symbols stand for out parameters, whose values are returned.
  def self.call(name, *arguments)
    outs = []
    arguments.map! { |a| a.is_a?(Symbol) ? outs.push(OUT[a].malloc(Fiddle::RUBY_FREE)).last : a }
    error = send("mossrt_#{name}", *arguments)
    return outs.one? ? outs[0].its : outs.map(&:its) if error.null?
    message = mossrt_error_message(error).to_s
    mossrt_error_free(error)
    raise message
  end

  # A handle, which the garbage collector frees.
  def self.create(kind, name, *arguments)
    Fiddle::Pointer.new(call(name, *arguments, :pointer), 0, handler["mossrt_#{kind}_free"])
  end
end

def turn(chat, session, sampling, question)
  shown = nil
  Mossrt.call("chat_send", chat, question, question.bytesize)
  print "> ", question
  loop do
    kind, text, size =
      Mossrt.call("chat_advance", chat, session, sampling, nil, :int, :pointer, :size, nil, nil)
    break if kind == Mossrt::CHAT_EVENT_NONE

    print "\n[#{Mossrt::EVENTS[kind]}] " unless kind == shown
    print text[0, size]
    $stdout.flush
    shown = kind
  end
  puts
end

begin
  model = Mossrt.create("model", "model_load", ARGV.fetch(0, ""), nil, nil)
  tokenizer = Mossrt.create("tokenizer", "model_tokenizer", model)
  session = Mossrt.create("session", "session_create", model, nil)
  plugins = Mossrt.create("options", "options_create", Mossrt::OPTIONS_CHAT)
  Mossrt.call("options_set_str", plugins, "plugins", "Calculate", "Calculate".bytesize)
  chat = Mossrt.create("chat", "chat_create", tokenizer, plugins)
  Mossrt.call("chat_add_builtin_plugin", chat, "Calculate")
  sampling = Mossrt.create("options", "options_create", Mossrt::OPTIONS_GENERATE)
  Mossrt.call("options_set_int", sampling, "seed", 1)
  ["Hello!", "1234乘以5678=?", "What is 12 / 34?"].each { |q| turn(chat, session, sampling, q) }
rescue RuntimeError => e
  abort e.message
end
