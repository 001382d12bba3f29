/* Build: cc conversation.c -o conversation $(pkg-config --cflags --libs mossrt)
 * Run:   ./conversation ../tiny-moss/model */
#include <mossrt/mossrt.h>
#include <stdio.h>
#include <string.h>

static const char* kQuestions[] = {"Hello!", "1234乘以5678=?", "What is 12 / 34?"};
static const char* kEvents[] = {"", "thought", "command", "result", "answer", "citation", "notice"};

static mossrt_error* Turn(mossrt_chat* chat, mossrt_session* session, const mossrt_options* options,
                          const char* question) {
  int32_t type = MOSSRT_CHAT_EVENT_NONE, shown = MOSSRT_CHAT_EVENT_NONE;
  const char* text = NULL;
  size_t len = 0;
  mossrt_error* e = mossrt_chat_send(chat, question, strlen(question));
  if (e) return e;
  printf("> %s", question);
  for (;;) {
    e = mossrt_chat_advance(chat, session, options, NULL, &type, &text, &len, NULL, NULL);
    if (e || type == MOSSRT_CHAT_EVENT_NONE) break;
    if (type != shown) printf("\n[%s] ", kEvents[type]);
    fwrite(text, 1, len, stdout);
    fflush(stdout);
    shown = type;
  }
  putchar('\n');
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
  if (!e) e = mossrt_chat_add_builtin_plugin(chat, "Calculate");
  if (!e) e = mossrt_options_create(MOSSRT_OPTIONS_GENERATE, &sampling);
  if (!e) e = mossrt_options_set_int(sampling, "seed", 1);
  for (size_t i = 0; !e && i < sizeof(kQuestions) / sizeof(kQuestions[0]); ++i) {
    e = Turn(chat, session, sampling, kQuestions[i]);
  }
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
