/* Generates text in C: generate <checkpoint directory> <prompt> [max_new_tokens] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mossrt/mossrt.h"

/* Ends the program with the library's own words if a call failed. */
static void Check(mossrt_error* e) {
  if (e == NULL) return;
  fprintf(stderr, "error %d: %s\n", (int)mossrt_error_code(e), mossrt_error_message(e));
  mossrt_error_free(e);
  exit(1);
}

int main(int argc, char** argv) {
  mossrt_model* model = NULL;
  mossrt_tokenizer* tokenizer = NULL;
  mossrt_session* session = NULL;
  mossrt_options* options = NULL;
  mossrt_generation* generation = NULL;
  int32_t* ids = NULL;
  int32_t finish = MOSSRT_FINISH_NONE;
  size_t n = 0;

  if (argc < 3) {
    fprintf(stderr, "usage: %s <checkpoint directory> <prompt> [max_new_tokens]\n", argv[0]);
    return 2;
  }
  if (mossrt_abi_version() != MOSSRT_ABI_MAJOR * 65536u + MOSSRT_ABI_MINOR) {
    fprintf(stderr, "libmossrt has another version than mossrt.h\n");
    return 1;
  }
  Check(mossrt_model_load(argv[1], NULL, NULL, &model));
  Check(mossrt_model_tokenizer(model, &tokenizer));
  Check(mossrt_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]),
                                MOSSRT_ENCODE_ADD_SPECIAL | MOSSRT_ENCODE_PARSE_SPECIAL, &ids, &n));
  Check(mossrt_session_create(model, NULL, &session));
  Check(mossrt_session_eval(session, ids, n, NULL, NULL));

  Check(mossrt_options_create(MOSSRT_OPTIONS_GENERATE, &options));
  Check(mossrt_options_set_int(options, "do_sample", 0));
  Check(mossrt_options_set_int(options, "max_new_tokens", argc > 3 ? atoi(argv[3]) : 64));
  Check(mossrt_generation_start(session, options, NULL, &generation));
  while (finish == MOSSRT_FINISH_NONE) {
    const char* text = NULL;
    size_t len = 0;
    Check(mossrt_generation_next(generation, NULL, &text, &len, &finish));
    fwrite(text, 1, len, stdout);
    fflush(stdout);
  }
  putchar('\n');

  mossrt_generation_free(generation);
  mossrt_options_free(options);
  mossrt_session_free(session);
  mossrt_free(ids);
  mossrt_tokenizer_free(tokenizer);
  mossrt_model_free(model);
  return 0;
}
