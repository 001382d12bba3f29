/* Build: cc conversation.c -o conversation $(pkg-config --cflags --libs mossrt)
 * Run:   ./conversation ../tiny-moss/model */
#include <mossrt/mossrt.h>
#include <stdio.h>
#include <string.h>

static const char* kQuestions[] = {"Hello!", "1234乘以5678=?", "What is 12 / 34?"};
static const char* kEvents[] = {"", "thought", "command", "result", "answer", "citation", "notice"};

static mossrt_error* Calculate(mossrt_chat* chat, size_t index) {
  const char *name = NULL, *argument = NULL;
  char* value = NULL; /* and so it stays if the calculation fails, which the model is told */
  size_t len = 0, value_len = 0;
  mossrt_error* e = mossrt_chat_command(chat, index, &name, &argument, &len);
  if (!e) mossrt_error_free(mossrt_calculate(argument, len, &value, &value_len));
  if (!e) e = mossrt_chat_set_result(chat, index, value, value_len);
  mossrt_free(value);
  return e;
}

static mossrt_error* Turn(mossrt_chat* chat, mossrt_session* s, mossrt_options* o, const char* q) {
  int32_t action = MOSSRT_CHAT_DONE, more = 0, token = 0, finish = 0, type = 0, shown = 0;
  mossrt_generation* g = NULL; /* writes the field that is open */
  const char* text = NULL;
  size_t n = 0;
  mossrt_error* e = mossrt_chat_send(chat, q, strlen(q));
  printf("> %s", q);
  while (!e && !(e = mossrt_chat_next(chat, NULL, 0, &action, NULL, NULL, NULL)) && action) {
    if (action == MOSSRT_CHAT_RUN_COMMANDS) {
      e = mossrt_chat_commands(chat, &n);
      for (size_t i = 0; !e && i < n; ++i) e = Calculate(chat, i);
      if (!e) e = mossrt_chat_end_commands(chat);
    } else if (!g) {
      e = mossrt_chat_eval(chat, s, NULL);
      if (!e) e = mossrt_generation_start(s, o, NULL, &g);
    } else {
      e = mossrt_generation_next(g, &token, NULL, NULL, &finish);
      if (!e) e = token < 0 ? mossrt_chat_end(chat, finish) : mossrt_chat_push(chat, token, &more);
      if (token < 0 || !more) mossrt_generation_free(g), g = NULL;
    }
    while (!e && !(e = mossrt_chat_event(chat, &type, &text, NULL, NULL, NULL)) && type) {
      if (type != shown) printf("\n[%s] ", kEvents[shown = type]);
      printf("%s", text);
      fflush(stdout);
    }
  }
  putchar('\n');
  mossrt_generation_free(g);
  return e;
}

int main(int argc, char** argv) {
  mossrt_model* model = NULL;
  mossrt_tokenizer* tokenizer = NULL;
  mossrt_session* session = NULL;
  mossrt_chat* chat = NULL;
  mossrt_options *plugins = NULL, *sampling = NULL;
  mossrt_error* e = mossrt_model_load(argc > 1 ? argv[1] : "", NULL, NULL, &model);
  if (!e) e = mossrt_model_tokenizer(model, &tokenizer);
  if (!e) e = mossrt_session_create(model, NULL, &session);
  if (!e) e = mossrt_options_create(MOSSRT_OPTIONS_CHAT, &plugins);
  if (!e) e = mossrt_options_set_str(plugins, "plugins", "Calculate", strlen("Calculate"));
  if (!e) e = mossrt_chat_create(tokenizer, plugins, &chat);
  if (!e) e = mossrt_options_create(MOSSRT_OPTIONS_GENERATE, &sampling);
  if (!e) e = mossrt_options_set_int(sampling, "seed", 1);
  if (!e) e = mossrt_chat_set_options(chat, sampling);
  for (size_t i = 0; !e && i < 3; ++i) e = Turn(chat, session, sampling, kQuestions[i]);
  mossrt_chat_free(chat);
  mossrt_options_free(sampling);
  mossrt_options_free(plugins);
  mossrt_session_free(session);
  mossrt_tokenizer_free(tokenizer);
  mossrt_model_free(model);
  if (!e) return 0;
  fprintf(stderr, "%s\n", mossrt_error_message(e));
  mossrt_error_free(e);
  return 1;
}
