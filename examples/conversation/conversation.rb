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

def calculate(chat, index)
  _, argument, length = Mossrt.call("chat_command", chat, index, :pointer, :pointer, :size)
  value, size = Mossrt.call("calculate", argument, length, :pointer, :size)
  Mossrt.call("chat_set_result", chat, index, value, size)
  Mossrt.mossrt_free(value)
rescue RuntimeError
  Mossrt.call("chat_set_result", chat, index, nil, 0) # the model is told that it failed
end

def turn(chat, session, sampling, question)
  writer = shown = nil
  Mossrt.call("chat_send", chat, question, question.bytesize)
  print "> ", question
  until (action = Mossrt.call("chat_next", chat, nil, 0, :int, nil, nil, nil)).zero?
    if action == Mossrt::CHAT_RUN_COMMANDS
      Mossrt.call("chat_commands", chat, :size).times { |index| calculate(chat, index) }
      Mossrt.call("chat_end_commands", chat)
    elsif writer.nil?
      Mossrt.call("chat_eval", chat, session, nil)
      writer = Mossrt.create("generation", "generation_start", session, sampling, nil)
    else
      token, finish = Mossrt.call("generation_next", writer, :int, nil, nil, :int)
      more = Mossrt.call("chat_push", chat, token, :int) if token >= 0
      Mossrt.call("chat_end", chat, finish) if token.negative?
      writer = nil if token.negative? || more.zero?
    end
    until (kind, text = Mossrt.call("chat_event", chat, :int, :pointer, nil, nil, nil))[0].zero?
      print kind == shown ? "" : "\n[#{Mossrt::EVENTS[kind]}] ", text.to_s
      $stdout.flush
      shown = kind
    end
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
  sampling = Mossrt.create("options", "options_create", Mossrt::OPTIONS_GENERATE)
  Mossrt.call("options_set_int", sampling, "seed", 1)
  Mossrt.call("chat_set_options", chat, sampling)
  ["Hello!", "1234乘以5678=?", "What is 12 / 34?"].each { |q| turn(chat, session, sampling, q) }
rescue RuntimeError => e
  abort e.message
end
