// Wrong arguments: every function of the interface with NULLs, unknown options, wrong kinds.
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "capi/capi_testing.h"

namespace mossrt_testing {
namespace {

template <typename T>
T* Poison() {
  return reinterpret_cast<T*>(std::uintptr_t{0xA5A5});
}

struct NullCase {
  std::string parameter;  // that the message must name
  std::function<mossrt_error*()> call;
};

mossrt_model* model = nullptr;
mossrt_session* session = nullptr;
mossrt_tokenizer* tokenizer = nullptr;
mossrt_options* options = nullptr;
mossrt_detok* detok = nullptr;
mossrt_sampler* sampler = nullptr;
mossrt_backend* backend = nullptr;
mossrt_generation* generation = nullptr;
mossrt_chat* chat = nullptr;

char* text = Poison<char>();
void* buffer = Poison<void>();
const char* view = Poison<const char>();
std::size_t size = 77;
std::int32_t* ids = Poison<std::int32_t>();
const std::int32_t* ids_view = Poison<const std::int32_t>();
const float* floats = Poison<const float>();
std::int32_t number = 77;
std::int64_t wide = 77;

std::int32_t Logits(void*, const std::int32_t*, std::size_t, float*, std::size_t) { return 0; }
std::int32_t Text(void*, const char*, std::size_t, std::int32_t) { return 0; }
std::int32_t RunPlugin(void*, const char*, std::size_t, mossrt_plugin_call*) { return 0; }
void* Allocate(void*, std::size_t, std::size_t) { return nullptr; }

const std::int32_t kId = 5;
const float kLogit = 1;

// By exported name. What is not here must stand in kInfallible below.
std::multimap<std::string, NullCase> NullCases() {
  const auto path = ModelPath();
  return {
      {"mossrt_system_info", {"json", [] { return mossrt_system_info(nullptr, &size); }}},
      {"mossrt_system_info", {"len", [] { return mossrt_system_info(&text, nullptr); }}},
      {"mossrt_calculate",
       {"expression", [] { return mossrt_calculate(nullptr, 1, &text, &size); }}},
      {"mossrt_calculate", {"value ", [] { return mossrt_calculate("1", 1, nullptr, &size); }}},
      {"mossrt_calculate", {"value_len", [] { return mossrt_calculate("1", 1, &text, nullptr); }}},
      {"mossrt_solve", {"equations", [] { return mossrt_solve(nullptr, 1, &text, &size); }}},
      {"mossrt_solve", {"solution ", [] { return mossrt_solve("x=1", 3, nullptr, &size); }}},
      {"mossrt_solve", {"solution_len", [] { return mossrt_solve("x=1", 3, &text, nullptr); }}},
      {"mossrt_set_log", {"level", [] { return mossrt_set_log(nullptr, nullptr, 9); }}},
      {"mossrt_set_allocator",
       {"dealloc", [] { return mossrt_set_allocator(Allocate, nullptr, nullptr); }}},
      {"mossrt_options_create",
       {"out", [] { return mossrt_options_create(MOSSRT_OPTIONS_LOAD, nullptr); }}},
      {"mossrt_options_set_int", {"o ", [] { return mossrt_options_set_int(nullptr, "x", 1); }}},
      {"mossrt_options_set_int",
       {"key", [] { return mossrt_options_set_int(options, nullptr, 1); }}},
      {"mossrt_options_set_float",
       {"o ", [] { return mossrt_options_set_float(nullptr, "x", 1); }}},
      {"mossrt_options_set_float",
       {"key", [] { return mossrt_options_set_float(options, nullptr, NAN); }}},
      {"mossrt_options_set_str",
       {"o ", [] { return mossrt_options_set_str(nullptr, "x", "y", 1); }}},
      {"mossrt_options_set_str",
       {"key", [] { return mossrt_options_set_str(options, nullptr, "y", 1); }}},
      {"mossrt_options_set_str",
       {"value", [] { return mossrt_options_set_str(options, "dtype", nullptr, 1); }}},
      {"mossrt_options_merge_json",
       {"o ", [] { return mossrt_options_merge_json(nullptr, "{}", 2); }}},
      {"mossrt_options_merge_json",
       {"json", [] { return mossrt_options_merge_json(options, nullptr, 2); }}},
      {"mossrt_options_describe",
       {"json", [] { return mossrt_options_describe(MOSSRT_OPTIONS_LOAD, nullptr, &size); }}},
      {"mossrt_options_describe",
       {"len", [] { return mossrt_options_describe(MOSSRT_OPTIONS_LOAD, &view, nullptr); }}},
      {"mossrt_monitor_create",
       {"out", [] { return mossrt_monitor_create(nullptr, nullptr, 0, nullptr); }}},
      {"mossrt_model_load",
       {"path", [] { return mossrt_model_load(nullptr, nullptr, nullptr, &model); }}},
      {"mossrt_model_load",
       {"out", [path] { return mossrt_model_load(path.c_str(), nullptr, nullptr, nullptr); }}},
      {"mossrt_model_inspect",
       {"path", [] { return mossrt_model_inspect(nullptr, nullptr, &text, &size); }}},
      {"mossrt_model_inspect",
       {"json", [path] { return mossrt_model_inspect(path.c_str(), nullptr, nullptr, &size); }}},
      {"mossrt_model_inspect",
       {"len", [path] { return mossrt_model_inspect(path.c_str(), nullptr, &text, nullptr); }}},
      {"mossrt_model_save_packed",
       {"model", [] { return mossrt_model_save_packed(nullptr, "x", nullptr); }}},
      {"mossrt_model_save_packed",
       {"path", [] { return mossrt_model_save_packed(model, nullptr, nullptr); }}},
      {"mossrt_model_info", {"model", [] { return mossrt_model_info(nullptr, &view, &size); }}},
      {"mossrt_model_info", {"json", [] { return mossrt_model_info(model, nullptr, &size); }}},
      {"mossrt_model_info", {"len", [] { return mossrt_model_info(model, &view, nullptr); }}},
      {"mossrt_model_generation_options",
       {"model", [] { return mossrt_model_generation_options(nullptr, nullptr, &text, &size); }}},
      {"mossrt_model_generation_options",
       {"json", [] { return mossrt_model_generation_options(model, nullptr, nullptr, &size); }}},
      {"mossrt_model_generation_options",
       {"len", [] { return mossrt_model_generation_options(model, nullptr, &text, nullptr); }}},
      {"mossrt_model_get_int",
       {"model", [] { return mossrt_model_get_int(nullptr, "vocab", &wide); }}},
      {"mossrt_model_get_int", {"key", [] { return mossrt_model_get_int(model, nullptr, &wide); }}},
      {"mossrt_model_get_int",
       {"value", [] { return mossrt_model_get_int(model, "vocab", nullptr); }}},
      {"mossrt_model_tensor_shape",
       {"model", [] { return mossrt_model_tensor_shape(nullptr, "x", nullptr, 0, &size); }}},
      {"mossrt_model_tensor_shape",
       {"name", [] { return mossrt_model_tensor_shape(model, nullptr, nullptr, 0, &size); }}},
      {"mossrt_model_tensor_shape",
       {"dims", [] { return mossrt_model_tensor_shape(model, "x", nullptr, 1, &size); }}},
      {"mossrt_model_tensor_shape",
       {"rank", [] { return mossrt_model_tensor_shape(model, "x", nullptr, 0, nullptr); }}},
      {"mossrt_model_tensor_read",
       {"model", [] { return mossrt_model_tensor_read(nullptr, "x", nullptr, 0, &size); }}},
      {"mossrt_model_tensor_read",
       {"name", [] { return mossrt_model_tensor_read(model, nullptr, nullptr, 0, &size); }}},
      {"mossrt_model_tensor_read",
       {"dst", [] { return mossrt_model_tensor_read(model, "x", nullptr, 3, &size); }}},
      {"mossrt_model_tensor_read",
       {"count", [] { return mossrt_model_tensor_read(model, "x", nullptr, 0, nullptr); }}},
      {"mossrt_tokenizer_load",
       {"path", [] { return mossrt_tokenizer_load(nullptr, nullptr, &tokenizer); }}},
      {"mossrt_tokenizer_load",
       {"out", [path] { return mossrt_tokenizer_load(path.c_str(), nullptr, nullptr); }}},
      {"mossrt_model_tokenizer",
       {"model", [] { return mossrt_model_tokenizer(nullptr, &tokenizer); }}},
      {"mossrt_model_tokenizer", {"out", [] { return mossrt_model_tokenizer(model, nullptr); }}},
      {"mossrt_tokenizer_encode",
       {"t ", [] { return mossrt_tokenizer_encode(nullptr, "a", 1, 0, &ids, &size); }}},
      {"mossrt_tokenizer_encode",
       {"text", [] { return mossrt_tokenizer_encode(tokenizer, nullptr, 1, 0, &ids, &size); }}},
      {"mossrt_tokenizer_encode",
       {"ids", [] { return mossrt_tokenizer_encode(tokenizer, "a", 1, 0, nullptr, &size); }}},
      {"mossrt_tokenizer_encode",
       {"n ", [] { return mossrt_tokenizer_encode(tokenizer, "a", 1, 0, &ids, nullptr); }}},
      {"mossrt_tokenizer_decode",
       {"t ", [] { return mossrt_tokenizer_decode(nullptr, &kId, 1, 0, &text, &size); }}},
      {"mossrt_tokenizer_decode",
       {"ids", [] { return mossrt_tokenizer_decode(tokenizer, nullptr, 1, 0, &text, &size); }}},
      {"mossrt_tokenizer_decode",
       {"text", [] { return mossrt_tokenizer_decode(tokenizer, &kId, 1, 0, nullptr, &size); }}},
      {"mossrt_tokenizer_decode",
       {"len", [] { return mossrt_tokenizer_decode(tokenizer, &kId, 1, 0, &text, nullptr); }}},
      {"mossrt_tokenizer_token_bytes",
       {"t ", [] { return mossrt_tokenizer_token_bytes(nullptr, 5, &view, &size); }}},
      {"mossrt_tokenizer_token_bytes",
       {"bytes", [] { return mossrt_tokenizer_token_bytes(tokenizer, 5, nullptr, &size); }}},
      {"mossrt_tokenizer_token_bytes",
       {"len", [] { return mossrt_tokenizer_token_bytes(tokenizer, 5, &view, nullptr); }}},
      {"mossrt_tokenizer_token_id",
       {"t ", [] { return mossrt_tokenizer_token_id(nullptr, "a", 1, &number); }}},
      {"mossrt_tokenizer_token_id",
       {"name", [] { return mossrt_tokenizer_token_id(tokenizer, nullptr, 1, &number); }}},
      {"mossrt_tokenizer_token_id",
       {"id", [] { return mossrt_tokenizer_token_id(tokenizer, "a", 1, nullptr); }}},
      {"mossrt_tokenizer_special_ids",
       {"t ", [] { return mossrt_tokenizer_special_ids(nullptr, "eos", &ids_view, &size); }}},
      {"mossrt_tokenizer_special_ids",
       {"role", [] { return mossrt_tokenizer_special_ids(tokenizer, nullptr, &ids_view, &size); }}},
      {"mossrt_tokenizer_special_ids",
       {"ids", [] { return mossrt_tokenizer_special_ids(tokenizer, "eos", nullptr, &size); }}},
      {"mossrt_tokenizer_special_ids",
       {"n ", [] { return mossrt_tokenizer_special_ids(tokenizer, "eos", &ids_view, nullptr); }}},
      {"mossrt_detok_create", {"t ", [] { return mossrt_detok_create(nullptr, 0, &detok); }}},
      {"mossrt_detok_create", {"out", [] { return mossrt_detok_create(tokenizer, 0, nullptr); }}},
      {"mossrt_detok_push",
       {"d ", [] { return mossrt_detok_push(nullptr, &kId, 1, &view, &size); }}},
      {"mossrt_detok_push",
       {"ids", [] { return mossrt_detok_push(detok, nullptr, 1, &view, &size); }}},
      {"mossrt_detok_push",
       {"text", [] { return mossrt_detok_push(detok, &kId, 1, nullptr, &size); }}},
      {"mossrt_detok_push",
       {"len", [] { return mossrt_detok_push(detok, &kId, 1, &view, nullptr); }}},
      {"mossrt_detok_flush", {"d ", [] { return mossrt_detok_flush(nullptr, &view, &size); }}},
      {"mossrt_detok_flush", {"text", [] { return mossrt_detok_flush(detok, nullptr, &size); }}},
      {"mossrt_detok_flush", {"len", [] { return mossrt_detok_flush(detok, &view, nullptr); }}},
      {"mossrt_session_create",
       {"model", [] { return mossrt_session_create(nullptr, nullptr, &session); }}},
      {"mossrt_session_create",
       {"out", [] { return mossrt_session_create(model, nullptr, nullptr); }}},
      {"mossrt_session_eval",
       {"s ", [] { return mossrt_session_eval(nullptr, &kId, 1, nullptr, nullptr); }}},
      {"mossrt_session_eval",
       {"ids", [] { return mossrt_session_eval(session, nullptr, 1, nullptr, nullptr); }}},
      {"mossrt_session_logits",
       {"s ", [] { return mossrt_session_logits(nullptr, &floats, &size, &size, &size); }}},
      {"mossrt_session_logits",
       {"data", [] { return mossrt_session_logits(session, nullptr, &size, &size, &size); }}},
      {"mossrt_session_logits",
       {"rows", [] { return mossrt_session_logits(session, &floats, nullptr, &size, &size); }}},
      {"mossrt_session_logits",
       {"cols", [] { return mossrt_session_logits(session, &floats, &size, nullptr, &size); }}},
      {"mossrt_session_logits",
       {"stride", [] { return mossrt_session_logits(session, &floats, &size, &size, nullptr); }}},
      {"mossrt_session_hidden",
       {"s ", [] { return mossrt_session_hidden(nullptr, 0, &floats, &size, &size, &size); }}},
      {"mossrt_session_hidden",
       {"data", [] { return mossrt_session_hidden(session, 0, nullptr, &size, &size, &size); }}},
      {"mossrt_session_tokens",
       {"s ", [] { return mossrt_session_tokens(nullptr, &ids_view, &size); }}},
      {"mossrt_session_tokens",
       {"ids", [] { return mossrt_session_tokens(session, nullptr, &size); }}},
      {"mossrt_session_tokens",
       {"n ", [] { return mossrt_session_tokens(session, &ids_view, nullptr); }}},
      {"mossrt_session_rewind", {"s ", [] { return mossrt_session_rewind(nullptr, 0); }}},
      {"mossrt_session_fork", {"s ", [] { return mossrt_session_fork(nullptr, &session); }}},
      {"mossrt_session_fork", {"out", [] { return mossrt_session_fork(session, nullptr); }}},
      {"mossrt_session_save",
       {"s ", [] { return mossrt_session_save(nullptr, "x", nullptr, nullptr); }}},
      {"mossrt_session_save",
       {"buffer", [] { return mossrt_session_save(session, nullptr, nullptr, &size); }}},
      {"mossrt_session_save",
       {"len", [] { return mossrt_session_save(session, nullptr, &buffer, nullptr); }}},
      {"mossrt_session_save",
       {"buffer", [] { return mossrt_session_save(session, "x", &buffer, nullptr); }}},
      {"mossrt_session_save",
       {"len", [] { return mossrt_session_save(session, "x", nullptr, &size); }}},
      {"mossrt_session_restore",
       {"model", [] { return mossrt_session_restore(nullptr, "x", nullptr, 0, &session); }}},
      {"mossrt_session_restore",
       {"out", [] { return mossrt_session_restore(model, "x", nullptr, 0, nullptr); }}},
      {"mossrt_session_restore",
       {"buffer", [] { return mossrt_session_restore(model, nullptr, nullptr, 1, &session); }}},
      {"mossrt_session_restore",
       {"buffer", [] { return mossrt_session_restore(model, "x", "y", 1, &session); }}},
      {"mossrt_session_save_monitored",
       {"s ",
        [] { return mossrt_session_save_monitored(nullptr, "x", nullptr, nullptr, nullptr); }}},
      {"mossrt_session_save_monitored",
       {"buffer",
        [] { return mossrt_session_save_monitored(session, nullptr, nullptr, &size, nullptr); }}},
      {"mossrt_session_save_monitored",
       {"len",
        [] { return mossrt_session_save_monitored(session, nullptr, &buffer, nullptr, nullptr); }}},
      {"mossrt_session_save_monitored",
       {"buffer",
        [] { return mossrt_session_save_monitored(session, "x", &buffer, nullptr, nullptr); }}},
      {"mossrt_session_restore_monitored",
       {"model",
        [] {
          return mossrt_session_restore_monitored(nullptr, "x", nullptr, 0, nullptr, &session);
        }}},
      {"mossrt_session_restore_monitored",
       {"out",
        [] { return mossrt_session_restore_monitored(model, "x", nullptr, 0, nullptr, nullptr); }}},
      {"mossrt_session_restore_monitored",
       {"buffer",
        [] {
          return mossrt_session_restore_monitored(model, nullptr, nullptr, 1, nullptr, &session);
        }}},
      {"mossrt_session_info", {"s ", [] { return mossrt_session_info(nullptr, &text, &size); }}},
      {"mossrt_session_info",
       {"json", [] { return mossrt_session_info(session, nullptr, &size); }}},
      {"mossrt_session_info", {"len", [] { return mossrt_session_info(session, &text, nullptr); }}},
      {"mossrt_session_set_hook",
       {"s ", [] { return mossrt_session_set_hook(nullptr, "q", 0, nullptr, nullptr); }}},
      {"mossrt_session_set_hook",
       {"name", [] { return mossrt_session_set_hook(session, nullptr, 0, nullptr, nullptr); }}},
      {"mossrt_sampler_create", {"out", [] { return mossrt_sampler_create(nullptr, nullptr); }}},
      {"mossrt_sampler_sample",
       {"p ", [] { return mossrt_sampler_sample(nullptr, &kId, 1, &kLogit, 1, &number); }}},
      {"mossrt_sampler_sample",
       {"ids", [] { return mossrt_sampler_sample(sampler, nullptr, 1, &kLogit, 1, &number); }}},
      {"mossrt_sampler_sample",
       {"logits", [] { return mossrt_sampler_sample(sampler, &kId, 1, nullptr, 1, &number); }}},
      {"mossrt_sampler_sample",
       {"token", [] { return mossrt_sampler_sample(sampler, &kId, 1, &kLogit, 1, nullptr); }}},
      {"mossrt_sampler_logprobs",
       {"p ", [] { return mossrt_sampler_logprobs(nullptr, nullptr, nullptr, nullptr, nullptr); }}},
      {"mossrt_sampler_add_processor",
       {"p ", [] { return mossrt_sampler_add_processor(nullptr, Logits, nullptr); }}},
      {"mossrt_sampler_add_processor",
       {"fn", [] { return mossrt_sampler_add_processor(sampler, nullptr, nullptr); }}},
      {"mossrt_generation_start",
       {"s ", [] { return mossrt_generation_start(nullptr, nullptr, nullptr, &generation); }}},
      {"mossrt_generation_start",
       {"out", [] { return mossrt_generation_start(session, nullptr, nullptr, nullptr); }}},
      {"mossrt_model_generation_options",
       {"model", [] { return mossrt_model_generation_options(nullptr, nullptr, &text, &size); }}},
      {"mossrt_model_generation_options",
       {"json", [] { return mossrt_model_generation_options(model, nullptr, nullptr, &size); }}},
      {"mossrt_model_generation_options",
       {"len", [] { return mossrt_model_generation_options(model, nullptr, &text, nullptr); }}},
      {"mossrt_generation_add_processor",
       {"g ", [] { return mossrt_generation_add_processor(nullptr, Logits, nullptr); }}},
      {"mossrt_generation_add_processor",
       {"fn", [] { return mossrt_generation_add_processor(generation, nullptr, nullptr); }}},
      {"mossrt_generation_next",
       {"g ", [] { return mossrt_generation_next(nullptr, &number, &view, &size, &number); }}},
      {"mossrt_generation_logprobs",
       {"g ",
        [] { return mossrt_generation_logprobs(nullptr, nullptr, nullptr, nullptr, nullptr); }}},
      {"mossrt_generation_info",
       {"g ", [] { return mossrt_generation_info(nullptr, &text, &size); }}},
      {"mossrt_generation_info",
       {"json", [] { return mossrt_generation_info(generation, nullptr, &size); }}},
      {"mossrt_generation_info",
       {"len", [] { return mossrt_generation_info(generation, &text, nullptr); }}},
      {"mossrt_generate",
       {"s ",
        [] {
          return mossrt_generate(nullptr, "a", 1, 0, nullptr, nullptr, Text, nullptr, &number);
        }}},
      {"mossrt_generate",
       {"prompt",
        [] {
          return mossrt_generate(session, nullptr, 1, 0, nullptr, nullptr, Text, nullptr, &number);
        }}},
      {"mossrt_generate",
       {"fn",
        [] {
          return mossrt_generate(session, "a", 1, 0, nullptr, nullptr, nullptr, nullptr, &number);
        }}},
      {"mossrt_chat_create", {"t ", [] { return mossrt_chat_create(nullptr, nullptr, &chat); }}},
      {"mossrt_chat_create",
       {"out", [] { return mossrt_chat_create(tokenizer, nullptr, nullptr); }}},
      {"mossrt_chat_load",
       {"t ", [] { return mossrt_chat_load(nullptr, "{}", 2, nullptr, &chat); }}},
      {"mossrt_chat_load",
       {"saved", [] { return mossrt_chat_load(tokenizer, nullptr, 2, nullptr, &chat); }}},
      {"mossrt_chat_load",
       {"out", [] { return mossrt_chat_load(tokenizer, "{}", 2, nullptr, nullptr); }}},
      {"mossrt_chat_send", {"c ", [] { return mossrt_chat_send(nullptr, "a", 1); }}},
      {"mossrt_chat_send", {"text", [] { return mossrt_chat_send(chat, nullptr, 1); }}},
      {"mossrt_chat_next",
       {"c ", [] { return mossrt_chat_next(nullptr, &kId, 1, &number, &size, &ids_view, &size); }}},
      {"mossrt_chat_next",
       {"held",
        [] { return mossrt_chat_next(chat, nullptr, 1, &number, &size, &ids_view, &size); }}},
      {"mossrt_chat_next",
       {"action",
        [] { return mossrt_chat_next(chat, &kId, 1, nullptr, &size, &ids_view, &size); }}},
      {"mossrt_chat_eval", {"c ", [] { return mossrt_chat_eval(nullptr, session, nullptr); }}},
      {"mossrt_chat_eval", {"s ", [] { return mossrt_chat_eval(chat, nullptr, nullptr); }}},
      {"mossrt_chat_add_plugin",
       {"c ",
        [] { return mossrt_chat_add_plugin(nullptr, "a", "", 1, RunPlugin, nullptr, nullptr); }}},
      {"mossrt_chat_add_plugin",
       {"name",
        [] { return mossrt_chat_add_plugin(chat, nullptr, "", 1, RunPlugin, nullptr, nullptr); }}},
      {"mossrt_chat_add_plugin",
       {"fn", [] { return mossrt_chat_add_plugin(chat, "a", "", 1, nullptr, nullptr, nullptr); }}},
      {"mossrt_chat_add_builtin_plugin",
       {"c ", [] { return mossrt_chat_add_builtin_plugin(nullptr, "Solve"); }}},
      {"mossrt_chat_add_builtin_plugin",
       {"name", [] { return mossrt_chat_add_builtin_plugin(chat, nullptr); }}},
      {"mossrt_chat_run_commands",
       {"c ", [] { return mossrt_chat_run_commands(nullptr, nullptr); }}},
      // Their other arguments: chat_plugins_test.cc, inside a call.
      {"mossrt_plugin_set_text", {"call", [] { return mossrt_plugin_set_text(nullptr, "a", 1); }}},
      {"mossrt_plugin_add_snippet",
       {"call", [] { return mossrt_plugin_add_snippet(nullptr, "a", 1, "b", 1); }}},
      {"mossrt_plugin_set_error",
       {"call", [] { return mossrt_plugin_set_error(nullptr, "a", 1); }}},
      {"mossrt_chat_constrain", {"c ", [] { return mossrt_chat_constrain(nullptr, generation); }}},
      {"mossrt_chat_constrain", {"g ", [] { return mossrt_chat_constrain(chat, nullptr); }}},
      {"mossrt_chat_advance",
       {"c ",
        [] {
          return mossrt_chat_advance(nullptr, session, nullptr, nullptr, &number, nullptr, nullptr,
                                     nullptr, nullptr);
        }}},
      {"mossrt_chat_advance",
       {"s ",
        [] {
          return mossrt_chat_advance(chat, nullptr, nullptr, nullptr, &number, nullptr, nullptr,
                                     nullptr, nullptr);
        }}},
      {"mossrt_chat_advance",
       {"type",
        [] {
          return mossrt_chat_advance(chat, session, nullptr, nullptr, nullptr, nullptr, nullptr,
                                     nullptr, nullptr);
        }}},
      {"mossrt_chat_set_options", {"c ", [] { return mossrt_chat_set_options(nullptr, options); }}},
      {"mossrt_chat_set_options", {"o ", [] { return mossrt_chat_set_options(chat, nullptr); }}},
      {"mossrt_chat_stop_ids",
       {"c ", [] { return mossrt_chat_stop_ids(nullptr, &ids_view, &size); }}},
      {"mossrt_chat_stop_ids", {"ids", [] { return mossrt_chat_stop_ids(chat, nullptr, &size); }}},
      {"mossrt_chat_stop_ids",
       {"n ", [] { return mossrt_chat_stop_ids(chat, &ids_view, nullptr); }}},
      {"mossrt_chat_push", {"c ", [] { return mossrt_chat_push(nullptr, 5, &number); }}},
      {"mossrt_chat_end", {"c ", [] { return mossrt_chat_end(nullptr, MOSSRT_FINISH_LENGTH); }}},
      {"mossrt_chat_event",
       {"c ", [] { return mossrt_chat_event(nullptr, &number, &view, &size, nullptr, nullptr); }}},
      {"mossrt_chat_event",
       {"type", [] { return mossrt_chat_event(chat, nullptr, &view, &size, nullptr, nullptr); }}},
      {"mossrt_chat_commands", {"c ", [] { return mossrt_chat_commands(nullptr, &size); }}},
      {"mossrt_chat_commands", {"n ", [] { return mossrt_chat_commands(chat, nullptr); }}},
      {"mossrt_chat_command",
       {"c ", [] { return mossrt_chat_command(nullptr, 0, &view, &view, &size); }}},
      {"mossrt_chat_command",
       {"name", [] { return mossrt_chat_command(chat, 0, nullptr, &view, &size); }}},
      {"mossrt_chat_command",
       {"argument", [] { return mossrt_chat_command(chat, 0, &view, nullptr, &size); }}},
      {"mossrt_chat_command",
       {"len", [] { return mossrt_chat_command(chat, 0, &view, &view, nullptr); }}},
      {"mossrt_chat_set_result", {"c ", [] { return mossrt_chat_set_result(nullptr, 0, "a", 1); }}},
      {"mossrt_chat_set_result",
       {"text", [] { return mossrt_chat_set_result(chat, 0, nullptr, 1); }}},
      {"mossrt_chat_add_snippet",
       {"c ", [] { return mossrt_chat_add_snippet(nullptr, 0, "a", 1, "b", 1); }}},
      {"mossrt_chat_add_snippet",
       {"title", [] { return mossrt_chat_add_snippet(chat, 0, nullptr, 1, "b", 1); }}},
      {"mossrt_chat_add_snippet",
       {"text", [] { return mossrt_chat_add_snippet(chat, 0, "a", 1, nullptr, 1); }}},
      {"mossrt_chat_end_commands", {"c ", [] { return mossrt_chat_end_commands(nullptr); }}},
      {"mossrt_chat_ids", {"c ", [] { return mossrt_chat_ids(nullptr, &ids_view, &size); }}},
      {"mossrt_chat_ids", {"ids", [] { return mossrt_chat_ids(chat, nullptr, &size); }}},
      {"mossrt_chat_ids", {"n ", [] { return mossrt_chat_ids(chat, &ids_view, nullptr); }}},
      {"mossrt_chat_turn", {"c ", [] { return mossrt_chat_turn(nullptr, &text, &size); }}},
      {"mossrt_chat_turn", {"json", [] { return mossrt_chat_turn(chat, nullptr, &size); }}},
      {"mossrt_chat_turn", {"len", [] { return mossrt_chat_turn(chat, &text, nullptr); }}},
      {"mossrt_chat_info", {"c ", [] { return mossrt_chat_info(nullptr, &text, &size); }}},
      {"mossrt_chat_info", {"json", [] { return mossrt_chat_info(chat, nullptr, &size); }}},
      {"mossrt_chat_info", {"len", [] { return mossrt_chat_info(chat, &text, nullptr); }}},
      {"mossrt_chat_undo", {"c ", [] { return mossrt_chat_undo(nullptr, &number); }}},
      {"mossrt_chat_save", {"c ", [] { return mossrt_chat_save(nullptr, &text, &size); }}},
      {"mossrt_chat_save", {"saved", [] { return mossrt_chat_save(chat, nullptr, &size); }}},
      {"mossrt_chat_save", {"len", [] { return mossrt_chat_save(chat, &text, nullptr); }}},
      {"mossrt_chat_render",
       {"t ", [] { return mossrt_chat_render(nullptr, nullptr, "[]", 2, &ids, &size); }}},
      {"mossrt_chat_render",
       {"turns", [] { return mossrt_chat_render(tokenizer, nullptr, nullptr, 2, &ids, &size); }}},
      {"mossrt_chat_render",
       {"ids", [] { return mossrt_chat_render(tokenizer, nullptr, "[]", 2, nullptr, &size); }}},
      {"mossrt_chat_render",
       {"n ", [] { return mossrt_chat_render(tokenizer, nullptr, "[]", 2, &ids, nullptr); }}},
      {"mossrt_chat_parse_commands",
       {"text", [] { return mossrt_chat_parse_commands(nullptr, 1, 0, nullptr, &text, &size); }}},
      {"mossrt_chat_parse_commands",
       {"json", [] { return mossrt_chat_parse_commands("a", 1, 0, nullptr, nullptr, &size); }}},
      {"mossrt_chat_parse_commands",
       {"json_len", [] { return mossrt_chat_parse_commands("a", 1, 0, nullptr, &text, nullptr); }}},
      {"mossrt_backend_create", {"name", [] { return mossrt_backend_create(nullptr, &backend); }}},
      {"mossrt_backend_create", {"out", [] { return mossrt_backend_create("x", nullptr); }}},
      {"mossrt_backend_set_pack",
       {"b ", [] { return mossrt_backend_set_pack(nullptr, nullptr, nullptr); }}},
      {"mossrt_backend_set_pack",
       {"fn", [] { return mossrt_backend_set_pack(backend, nullptr, nullptr); }}},
      {"mossrt_backend_set_prepare",
       {"fn", [] { return mossrt_backend_set_prepare(backend, nullptr, nullptr); }}},
      {"mossrt_backend_set_run",
       {"fn", [] { return mossrt_backend_set_run(backend, nullptr, nullptr); }}},
      {"mossrt_backend_set_read_row",
       {"fn", [] { return mossrt_backend_set_read_row(backend, nullptr, nullptr); }}},
      {"mossrt_backend_set_free",
       {"fn", [] { return mossrt_backend_set_free(backend, nullptr, nullptr); }}},
      {"mossrt_backend_register", {"b ", [] { return mossrt_backend_register(nullptr); }}},
      {"mossrt_weight_read", {"w ", [] { return mossrt_weight_read(nullptr, 0, 0, nullptr); }}},
  };
}

// Return a value or nothing; called with NULL below.
const std::set<std::string> kInfallible = {
    "mossrt_abi_version",     "mossrt_version",        "mossrt_free",
    "mossrt_error_code",      "mossrt_error_message",  "mossrt_error_callback_code",
    "mossrt_error_free",      "mossrt_options_free",   "mossrt_monitor_cancel",
    "mossrt_monitor_free",    "mossrt_model_free",     "mossrt_tokenizer_free",
    "mossrt_detok_free",      "mossrt_session_free",   "mossrt_sampler_free",
    "mossrt_backend_free",    "mossrt_tokenizer_size", "mossrt_tokenizer_kind",
    "mossrt_generation_free", "mossrt_chat_free",      "mossrt_plugin_wanted"};

class Arguments : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model = LoadModel();
    session = NewSession(model);
    ASSERT_TRUE(Succeeds(mossrt_model_tokenizer(model, &tokenizer)));
    ASSERT_TRUE(Succeeds(mossrt_options_create(MOSSRT_OPTIONS_LOAD, &options)));
    ASSERT_TRUE(Succeeds(mossrt_detok_create(tokenizer, 0, &detok)));
    ASSERT_TRUE(Succeeds(mossrt_sampler_create(nullptr, &sampler)));
    ASSERT_TRUE(Succeeds(mossrt_backend_create("arguments", &backend)));
    ASSERT_TRUE(Succeeds(mossrt_chat_create(tokenizer, nullptr, &chat)));
    ASSERT_TRUE(Succeeds(mossrt_session_eval(session, &kId, 1, nullptr, nullptr)));
    ASSERT_TRUE(Succeeds(mossrt_generation_start(session, nullptr, nullptr, &generation)));
  }
  static void TearDownTestSuite() {
    mossrt_model_free(model);
    mossrt_session_free(session);
    mossrt_tokenizer_free(tokenizer);
    mossrt_options_free(options);
    mossrt_detok_free(detok);
    mossrt_sampler_free(sampler);
    mossrt_backend_free(backend);
    mossrt_generation_free(generation);
    mossrt_chat_free(chat);
  }
};

TEST_F(Arguments, NullIsNamedAndOutParametersAreUntouched) {
  mossrt_model* const model_before = model;
  mossrt_session* const session_before = session;
  for (const auto& [function, c] : NullCases()) {
    SCOPED_TRACE(function + " " + c.parameter);
    EXPECT_TRUE(FailsWith(c.call(), MOSSRT_E_INVALID_ARGUMENT, c.parameter));
  }
  EXPECT_EQ(model, model_before);
  EXPECT_EQ(session, session_before);
  EXPECT_EQ(text, Poison<char>());
  EXPECT_EQ(buffer, Poison<void>());
  EXPECT_EQ(view, Poison<const char>());
  EXPECT_EQ(ids, Poison<std::int32_t>());
  EXPECT_EQ(ids_view, Poison<const std::int32_t>());
  EXPECT_EQ(floats, Poison<const float>());
  EXPECT_EQ(size, 77u);
  EXPECT_EQ(number, 77);
  EXPECT_EQ(wide, 77);
}

TEST_F(Arguments, EveryExportedFunctionIsCovered) {
  std::ifstream list(MOSSRT_SOURCE_DIR "/tests/rules/exported_symbols.txt");
  ASSERT_TRUE(list);
  std::set<std::string> covered = kInfallible;
  for (const auto& [function, c] : NullCases()) covered.insert(function);
  std::set<std::string> exported;
  for (std::string line; std::getline(list, line);) exported.insert(line);
  EXPECT_EQ(covered, exported);
}

TEST_F(Arguments, InfallibleFunctionsTakeNull) {
  EXPECT_EQ(mossrt_abi_version(), MOSSRT_ABI_MAJOR * 65536u + MOSSRT_ABI_MINOR);
  EXPECT_STRNE(mossrt_version(), "");
  EXPECT_EQ(mossrt_error_code(nullptr), MOSSRT_OK);
  EXPECT_EQ(mossrt_error_callback_code(nullptr), 0);
  EXPECT_EQ(mossrt_plugin_wanted(nullptr), 0);
  EXPECT_STREQ(mossrt_error_message(nullptr), "");
  EXPECT_EQ(mossrt_tokenizer_size(nullptr), 0u);
  EXPECT_STREQ(mossrt_tokenizer_kind(nullptr), "");
  mossrt_free(nullptr);
  mossrt_error_free(nullptr);
  mossrt_options_free(nullptr);
  mossrt_monitor_cancel(nullptr);
  mossrt_monitor_free(nullptr);
  mossrt_model_free(nullptr);
  mossrt_tokenizer_free(nullptr);
  mossrt_detok_free(nullptr);
  mossrt_session_free(nullptr);
  mossrt_sampler_free(nullptr);
  mossrt_generation_free(nullptr);
  mossrt_chat_free(nullptr);
  mossrt_backend_free(nullptr);
}

TEST_F(Arguments, Options) {
  mossrt_options* o = nullptr;
  EXPECT_TRUE(FailsWith(mossrt_options_create(99, &o), MOSSRT_E_INVALID_ARGUMENT, "99"));
  EXPECT_EQ(o, nullptr);
  ASSERT_TRUE(Succeeds(mossrt_options_create(MOSSRT_OPTIONS_GENERATE, &o)));
  EXPECT_TRUE(FailsWith(mossrt_options_set_float(o, "temperatur", 1), MOSSRT_E_INVALID_ARGUMENT,
                        "\"temperature\""));
  EXPECT_TRUE(FailsWith(mossrt_options_set_str(o, "temperature", "hot", 3),
                        MOSSRT_E_INVALID_ARGUMENT, "temperature"));
  EXPECT_TRUE(
      FailsWith(mossrt_options_set_float(o, "top_p", NAN), MOSSRT_E_INVALID_ARGUMENT, "finite"));
  EXPECT_TRUE(
      FailsWith(mossrt_options_set_float(o, "top_k", 2.5), MOSSRT_E_INVALID_ARGUMENT, "integer"));
  EXPECT_TRUE(FailsWith(mossrt_options_set_int(o, "do_sample", 2), MOSSRT_E_INVALID_ARGUMENT,
                        "true or false"));
  EXPECT_TRUE(Succeeds(mossrt_options_set_int(o, "do_sample", 1)));
  EXPECT_TRUE(Succeeds(mossrt_options_set_int(o, "temperature", 1)));
  EXPECT_TRUE(FailsWith(mossrt_options_merge_json(o, "{", 1), MOSSRT_E_INVALID_ARGUMENT, "JSON"));
  EXPECT_TRUE(
      FailsWith(mossrt_options_merge_json(o, "[]", 2), MOSSRT_E_INVALID_ARGUMENT, "object"));
  // All or nothing: top_k must not have been set.
  const std::string half = R"({"top_k": 7, "nonsense": 1})";
  EXPECT_TRUE(FailsWith(mossrt_options_merge_json(o, half.data(), half.size()),
                        MOSSRT_E_INVALID_ARGUMENT, "nonsense"));
  mossrt_sampler* p = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_sampler_create(o, &p)));
  mossrt_sampler_free(p);
  mossrt_session* s = nullptr;
  EXPECT_TRUE(
      FailsWith(mossrt_session_create(model, o, &s), MOSSRT_E_INVALID_ARGUMENT, "options of kind"));
  EXPECT_EQ(s, nullptr);
  mossrt_options_free(o);
}

// Every key that a table has can be set and has an effect in the call that takes it.
TEST_F(Arguments, EveryDescribedOptionIsTaken) {
  for (const std::int32_t kind :
       {MOSSRT_OPTIONS_LOAD, MOSSRT_OPTIONS_SESSION, MOSSRT_OPTIONS_EVAL, MOSSRT_OPTIONS_TOKENIZER,
        MOSSRT_OPTIONS_CHAT, MOSSRT_OPTIONS_GENERATE}) {
    const char* json = nullptr;
    std::size_t len = 0;
    ASSERT_TRUE(Succeeds(mossrt_options_describe(kind, &json, &len)));
    EXPECT_EQ(json[len], '\0');
    const Json described = Json::parse(std::string_view(json, len));
    ASSERT_FALSE(described["options"].empty());
    Json values = Json::object();
    for (const Json& option : described["options"]) {
      EXPECT_FALSE(option["doc"].get<std::string>().empty()) << option;
      if (!option["default"].is_null()) values[option["name"]] = option["default"];
    }
    mossrt_options* o = Options(kind, values.dump());
    if (kind == MOSSRT_OPTIONS_LOAD) {
      if (values["architecture"] == "") {
        mossrt_model* m = nullptr;
        EXPECT_TRUE(Succeeds(mossrt_model_load(ModelPath().c_str(), o, nullptr, &m)));
        mossrt_model_free(m);
      }
    } else if (kind == MOSSRT_OPTIONS_SESSION) {
      mossrt_session* s = nullptr;
      EXPECT_TRUE(Succeeds(mossrt_session_create(model, o, &s)));
      mossrt_session_free(s);
    } else if (kind == MOSSRT_OPTIONS_EVAL) {
      EXPECT_TRUE(Succeeds(mossrt_session_eval(session, &kId, 1, o, nullptr)));
    } else if (kind == MOSSRT_OPTIONS_TOKENIZER) {
      mossrt_tokenizer* t = nullptr;
      EXPECT_TRUE(Succeeds(mossrt_tokenizer_load(ModelPath().c_str(), o, &t)));
      mossrt_tokenizer_free(t);
    } else if (kind == MOSSRT_OPTIONS_CHAT) {
      mossrt_chat* c = nullptr;
      EXPECT_TRUE(Succeeds(mossrt_chat_create(tokenizer, o, &c)));
      mossrt_chat_free(c);
    } else {
      mossrt_generation* g = nullptr;
      EXPECT_TRUE(Succeeds(mossrt_generation_start(session, o, nullptr, &g)));
      mossrt_generation_free(g);
    }
    mossrt_options_free(o);
  }
}

TEST_F(Arguments, TextsAndFlags) {
  EXPECT_TRUE(FailsWith(mossrt_tokenizer_encode(tokenizer, "a\xFF", 2, 0, &ids, &size),
                        MOSSRT_E_INVALID_ARGUMENT, "UTF-8"));
  EXPECT_TRUE(FailsWith(mossrt_tokenizer_encode(tokenizer, "a", 1, 1u << 20, &ids, &size),
                        MOSSRT_E_INVALID_ARGUMENT, "flags"));
  EXPECT_TRUE(FailsWith(mossrt_tokenizer_decode(tokenizer, &kId, 1, 1u << 20, &text, &size),
                        MOSSRT_E_INVALID_ARGUMENT, "flags"));
  mossrt_detok* d = nullptr;
  EXPECT_TRUE(FailsWith(mossrt_detok_create(tokenizer, MOSSRT_DECODE_RAW_BYTES, &d),
                        MOSSRT_E_INVALID_ARGUMENT, "flags"));
  const std::int32_t far = std::numeric_limits<std::int32_t>::max();
  for (const std::int32_t id : {-1, far}) {
    EXPECT_TRUE(FailsWith(mossrt_tokenizer_decode(tokenizer, &id, 1, 0, &text, &size),
                          MOSSRT_E_INVALID_ARGUMENT, std::to_string(id)));
    EXPECT_TRUE(FailsWith(mossrt_tokenizer_token_bytes(tokenizer, id, &view, &size),
                          MOSSRT_E_INVALID_ARGUMENT, std::to_string(id)));
    EXPECT_TRUE(FailsWith(mossrt_session_eval(session, &id, 1, nullptr, nullptr),
                          MOSSRT_E_INVALID_ARGUMENT, std::to_string(id)));
  }
  EXPECT_TRUE(FailsWith(mossrt_tokenizer_special_ids(tokenizer, "boss", &ids_view, &size),
                        MOSSRT_E_INVALID_ARGUMENT, "boss"));
  EXPECT_EQ(size, 77u);
}

TEST_F(Arguments, Names) {
  EXPECT_TRUE(FailsWith(mossrt_model_get_int(model, "vocabulary", &wide), MOSSRT_E_INVALID_ARGUMENT,
                        "vocab,"));
  EXPECT_TRUE(FailsWith(mossrt_model_tensor_shape(model, "nothing", nullptr, 0, &size),
                        MOSSRT_E_NOT_FOUND, "nothing"));
  EXPECT_TRUE(FailsWith(mossrt_session_set_hook(session, "resid_out", 0, nullptr, nullptr),
                        MOSSRT_E_INVALID_ARGUMENT, "attn_out"));
  EXPECT_TRUE(FailsWith(mossrt_session_set_hook(session, "q", 2, nullptr, nullptr),
                        MOSSRT_E_INVALID_ARGUMENT, "0 to 1"));
  EXPECT_TRUE(FailsWith(mossrt_session_set_hook(session, "embed", 0, nullptr, nullptr),
                        MOSSRT_E_INVALID_ARGUMENT, "-1"));
  EXPECT_TRUE(FailsWith(mossrt_backend_register(backend), MOSSRT_E_STATE, "set_pack"));
}

TEST_F(Arguments, Files) {
  mossrt_model* m = nullptr;
  EXPECT_TRUE(FailsWith(mossrt_model_load("/does/not/exist", nullptr, nullptr, &m),
                        MOSSRT_E_NOT_FOUND, "/does/not/exist"));
  mossrt_tokenizer* t = nullptr;
  EXPECT_TRUE(FailsWith(mossrt_tokenizer_load("/does/not/exist", nullptr, &t), MOSSRT_E_NOT_FOUND,
                        "/does/not/exist"));
  mossrt_options* o = Options(MOSSRT_OPTIONS_LOAD, R"({"backend": "nativ"})");
  EXPECT_TRUE(FailsWith(mossrt_model_load(ModelPath().c_str(), o, nullptr, &m),
                        MOSSRT_E_INVALID_ARGUMENT, "nativ"));
  mossrt_options_free(o);
  o = Options(MOSSRT_OPTIONS_LOAD, R"({"architecture": "mos"})");
  EXPECT_TRUE(FailsWith(mossrt_model_inspect(ModelPath().c_str(), o, &text, &size),
                        MOSSRT_E_INVALID_ARGUMENT, "mos"));
  mossrt_options_free(o);
  o = Options(MOSSRT_OPTIONS_LOAD, R"({"memory_limit": 1000})");
  EXPECT_TRUE(FailsWith(mossrt_model_load(ModelPath().c_str(), o, nullptr, &m),
                        MOSSRT_E_OUT_OF_MEMORY, "memory"));
  mossrt_options_free(o);
  EXPECT_EQ(m, nullptr);
  const std::string dir = testing::TempDir() + "/mossrt_capi_bad_config";
  ASSERT_EQ(std::system(("mkdir -p " + dir).c_str()), 0);
  std::ofstream(dir + "/config.json") << "{ not json";
  EXPECT_TRUE(FailsWith(mossrt_model_load(dir.c_str(), nullptr, nullptr, &m), MOSSRT_E_FORMAT,
                        "config.json"));
}

}  // namespace
}  // namespace mossrt_testing
