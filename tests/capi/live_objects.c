/* Ends in several ways while objects of the library are alive.
 *
 * Usage: live_objects <libmossrt.so> <checkpoint directory> exit | busy | unload | freed | fork
 * Ends with 0; with 1 and a text if something is wrong; by SIGALRM if anything hangs.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mossrt/mossrt.h"

#define DEADLINE_SECONDS 60

#define FUNCTIONS(X)        \
  X(mossrt_error_message)   \
  X(mossrt_options_create)  \
  X(mossrt_options_set_int) \
  X(mossrt_options_free)    \
  X(mossrt_model_load)      \
  X(mossrt_model_free)      \
  X(mossrt_session_create)  \
  X(mossrt_session_tokens)  \
  X(mossrt_session_free)    \
  X(mossrt_generate)

/* The library's functions, found by name; the structure's members are called as they are. */
static struct {
#define DECLARE(name) __typeof__(name)* name;
  FUNCTIONS(DECLARE)
#undef DECLARE
} lib;

/* Not on the stack of main: alive while the process ends. */
static mossrt_model* model;
static mossrt_session* session;
static void* library;

static void Require(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "live_objects: %s\n", what);
  _exit(1);
}

static void Check(mossrt_error* e) { Require(e == NULL, e ? lib.mossrt_error_message(e) : ""); }

static void Open(const char* path) {
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  Require(library != NULL, "dlopen failed");
#define FIND(name)                                \
  {                                               \
    void* symbol = dlsym(library, #name);         \
    Require(symbol != NULL, #name " is missing"); \
    memcpy(&lib.name, &symbol, sizeof symbol);    \
  }
  FUNCTIONS(FIND)
#undef FIND
}

static void Load(const char* path) {
  mossrt_options* o = NULL;
  Check(lib.mossrt_options_create(MOSSRT_OPTIONS_LOAD, &o));
  Check(lib.mossrt_options_set_int(o, "threads", 2));
  Check(lib.mossrt_model_load(path, o, NULL, &model));
  lib.mossrt_options_free(o);
}

static int32_t Ignore(void* user, const char* text, size_t len, int32_t token) {
  (void)user, (void)text, (void)len, (void)token;
  return 0;
}

/* The last of the tokens that a fresh session has after a greedy answer. */
static int32_t Generate(void) {
  static const char prompt[] = "<|Human|>: hello <eoh>";
  mossrt_options* o = NULL;
  const int32_t* ids = NULL;
  size_t n = 0;
  lib.mossrt_session_free(session);
  session = NULL;
  Check(lib.mossrt_session_create(model, NULL, &session));
  Check(lib.mossrt_options_create(MOSSRT_OPTIONS_GENERATE, &o));
  Check(lib.mossrt_options_set_int(o, "do_sample", 0));
  Check(lib.mossrt_options_set_int(o, "max_new_tokens", 8));
  Check(lib.mossrt_options_set_int(o, "min_new_tokens", 8));
  Check(lib.mossrt_generate(session, prompt, sizeof prompt - 1, MOSSRT_ENCODE_PARSE_SPECIAL, o,
                            NULL, Ignore, NULL, NULL));
  lib.mossrt_options_free(o);
  Check(lib.mossrt_session_tokens(session, &ids, &n));
  Require(n > 8, "no tokens came");
  return ids[n - 1];
}

static void Pause(void) {
  const struct timespec millisecond = {0, 1000000};
  nanosleep(&millisecond, NULL);
}

/* ---- busy: main returns while another thread is inside calls ---------------------------------*/

static int rounds;
static const char* model_path;

static void* LoadAndGenerateForEver(void* unused) {
  (void)unused;
  while (1) {
    lib.mossrt_session_free(session);
    session = NULL;
    lib.mossrt_model_free(model);
    Load(model_path);
    Generate();
    __atomic_add_fetch(&rounds, 1, __ATOMIC_SEQ_CST);
  }
  return NULL;
}

/* Registered before the library was opened, so that it runs after whatever the library has
 * registered: the thread must be able to go on. */
static void AwaitTwoRounds(void) {
  const int before = __atomic_load_n(&rounds, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&rounds, __ATOMIC_SEQ_CST) < before + 2) Pause();
}

/* ---- freed: no thread is left ----------------------------------------------------------------*/

static int Threads(void) {
  int count = 0;
  DIR* tasks = opendir("/proc/self/task");
  const struct dirent* entry;
  while ((entry = readdir(tasks)) != NULL) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count;
}

/* ---- fork
 * --------------------------------------------------------------------------------------*/

static void Fork(int generate, int32_t expected) {
  int status = -1;
  const pid_t child = fork();
  Require(child >= 0, "fork failed");
  if (child == 0) {
    alarm(DEADLINE_SECONDS); /* an alarm is not inherited */
    if (generate) Require(Generate() == expected, "the child's answer differs");
    exit(0); /* with the handlers and the objects of the parent */
  }
  Require(waitpid(child, &status, 0) == child, "waitpid failed");
  Require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child did not end with 0");
}

int main(int argc, char** argv) {
  const char* mode;
  pthread_t thread;
  int32_t first;
  Require(argc == 4, "three arguments are needed");
  model_path = argv[2];
  mode = argv[3];
  alarm(DEADLINE_SECONDS);
  if (strcmp(mode, "busy") == 0) atexit(AwaitTwoRounds);
  Open(argv[1]);
  Load(model_path);
  first = Generate();
  if (strcmp(mode, "exit") == 0) return 0;
  if (strcmp(mode, "busy") == 0) {
    Require(pthread_create(&thread, NULL, LoadAndGenerateForEver, NULL) == 0, "no thread");
    while (__atomic_load_n(&rounds, __ATOMIC_SEQ_CST) == 0) Pause();
    return 0;
  }
  if (strcmp(mode, "unload") == 0) {
    lib.mossrt_session_free(session);
    session = NULL;
    Require(dlclose(library) == 0, "dlclose failed");
    Pause(); /* the workers spin, then sleep, in code that must still be there */
    Require(dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL, "the library was unmapped");
    Require(Generate() == first, "the answer after dlclose differs");
    return 0;
  }
  if (strcmp(mode, "freed") == 0) {
    int i;
    for (i = 0; i < 3; ++i) {
      Require(Threads() == 2, "there are not two threads");
      lib.mossrt_session_free(session);
      session = NULL;
      lib.mossrt_model_free(model);
      while (Threads() != 1) Pause(); /* the kernel lists a thread for an instant after its end */
      Require(dlclose(library) == 0, "dlclose failed");
      Open(argv[1]);
      Load(model_path);
      Require(Generate() == first, "the answer after dlclose and dlopen differs");
    }
    return 0;
  }
  Require(strcmp(mode, "fork") == 0, "unknown mode");
  Fork(1, first);
  Fork(0, first);
  Require(Generate() == first, "the answer after fork differs");
  return 0;
}
