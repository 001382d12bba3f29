/* mossrt.h - the C interface of mossrt, a runtime for MOSS-style transformer checkpoints on CPUs.
 *
 * Conventions
 *   Errors     A call that can fail returns NULL on success, else an error object that the caller
 *              frees with mossrt_error_free. On an error no out parameter has been written. A
 *              required pointer that is NULL is MOSSRT_E_INVALID_ARGUMENT and named in the text.
 *   Text       UTF-8 with a length in bytes; paths, names and keys end with a zero byte. Text that
 *              the library gives also has a zero byte behind its last byte, which the length does
 *              not count.
 *   Ownership  `const T**` results are borrowed: valid until the next call on that object that may
 *              change it, or until it is freed. `T**` results belong to the caller; handles are
 *              freed by the function of their kind, memory by mossrt_free. Out parameters may be
 *              NULL where "may be NULL" is said. Every free function takes NULL.
 *   Lifetime   Handles keep what they need alive: free them in any order. Do not free a handle
 *              while a call on that very handle runs.
 *   Threads    mossrt_model and mossrt_tokenizer may be used from many threads at once. A session,
 *              generation, sampler, detok, chat, monitor, backend or options object serves one call
 * at a time: a second one gets MOSSRT_E_BUSY. A generation uses its session as well.
 *              mossrt_monitor_cancel may be called from anywhere, also from a signal handler.
 *   Ends       No call initialises or shuts down. A program may end, or call dlclose, while handles
 *              are alive and calls run; the library then stays in memory. After the last model is
 *              freed none of its threads is left. In a child after fork, handles that no call was
 *              using work on threads started there.
 *   Callbacks  get the `user` pointer given with them, run on the calling thread and only during a
 *              call (log functions on any thread, plugins of a conversation on threads of their
 *              own, which may outlast the call). A negative return ends the call with
 *              MOSSRT_E_CALLBACK, and mossrt_error_callback_code gives that number back.
 *   Numbers    float32 rows, token ids int32. `stride` is the distance of two rows in values.
 *   Silence    Nothing is printed; see mossrt_set_log.
 *   Stability  Codes, flags and option keys are never renumbered or reused. Unknown flag bits and
 *              option keys are errors.
 */
#ifndef MOSSRT_MOSSRT_H
#define MOSSRT_MOSSRT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(MOSSRT_BUILD)
#define MOSSRT_API __declspec(dllexport)
#elif defined(_WIN32) && !defined(MOSSRT_STATIC)
#define MOSSRT_API __declspec(dllimport)
#elif defined(__GNUC__)
#define MOSSRT_API __attribute__((visibility("default")))
#else
#define MOSSRT_API
#endif

/* Version of this interface; programs compare with mossrt_abi_version(). */
#define MOSSRT_ABI_MAJOR 0
#define MOSSRT_ABI_MINOR 1

/* Error codes. */
#define MOSSRT_OK 0
#define MOSSRT_E_INVALID_ARGUMENT 1 /* a parameter or option is wrong; the text names it */
#define MOSSRT_E_NOT_FOUND 2        /* a file, tensor or name does not exist */
#define MOSSRT_E_IO 3               /* the system refused to read or open */
#define MOSSRT_E_FORMAT 4           /* a file is damaged or is not what it claims to be */
#define MOSSRT_E_UNSUPPORTED 5      /* valid, but beyond this version */
#define MOSSRT_E_OUT_OF_MEMORY 6    /* too little memory, or a limit; the text lists the terms */
#define MOSSRT_E_CONTEXT_FULL 7     /* the tokens do not fit into the session's context */
#define MOSSRT_E_BUSY 8             /* another call is using the handle */
#define MOSSRT_E_CANCELLED 9        /* mossrt_monitor_cancel was called */
#define MOSSRT_E_CALLBACK 10        /* a callback returned a negative number */
#define MOSSRT_E_VERSION 11         /* program and library do not fit together */
#define MOSSRT_E_INTERNAL 12        /* a mistake of mossrt itself: please report it */
#define MOSSRT_E_STATE 13 /* the object is not in a state for this call; the text says why */

/* Why a generation ended. */
#define MOSSRT_FINISH_NONE 0         /* it goes on */
#define MOSSRT_FINISH_STOP_TOKEN 1   /* an end token was chosen */
#define MOSSRT_FINISH_STOP_STRING 2  /* a stop string appeared; it is not part of the text */
#define MOSSRT_FINISH_LENGTH 3       /* max_new_tokens reached */
#define MOSSRT_FINISH_CONTEXT_FULL 4 /* the session's context is full */
#define MOSSRT_FINISH_CANCELLED 5    /* mossrt_monitor_cancel was called */

/* Kinds of options; mossrt_options_describe lists the keys of each. 4 and 5 are reserved. */
#define MOSSRT_OPTIONS_LOAD 1    /* mossrt_model_load, mossrt_model_inspect */
#define MOSSRT_OPTIONS_SESSION 2 /* mossrt_session_create */
#define MOSSRT_OPTIONS_GENERATE \
  3                           /* mossrt_generation_start, mossrt_generate, mossrt_sampler_create */
#define MOSSRT_OPTIONS_EVAL 6 /* mossrt_session_eval */
#define MOSSRT_OPTIONS_TOKENIZER 7 /* mossrt_tokenizer_load */
#define MOSSRT_OPTIONS_CHAT 8      /* mossrt_chat_create, mossrt_chat_load, mossrt_chat_render */

/* What a conversation wants next. */
#define MOSSRT_CHAT_DONE 0     /* no turn is open: mossrt_chat_send */
#define MOSSRT_CHAT_GENERATE 1 /* tokens: mossrt_chat_push, mossrt_chat_end */
#define MOSSRT_CHAT_RUN_COMMANDS \
  2 /* results: mossrt_chat_run_commands, or set_result and end_commands */

/* Events of a turn. The text of an answer is its answer and citation events, joined. */
#define MOSSRT_CHAT_EVENT_NONE 0
#define MOSSRT_CHAT_EVENT_THOUGHT 1
#define MOSSRT_CHAT_EVENT_COMMAND 2
#define MOSSRT_CHAT_EVENT_RESULT 3
#define MOSSRT_CHAT_EVENT_ANSWER 4
#define MOSSRT_CHAT_EVENT_CITATION 5
#define MOSSRT_CHAT_EVENT_NOTICE 6 /* what was repaired, cut or left out, as a sentence */

/* Log levels. */
#define MOSSRT_LOG_OFF 0
#define MOSSRT_LOG_ERROR 1
#define MOSSRT_LOG_WARN 2
#define MOSSRT_LOG_INFO 3
#define MOSSRT_LOG_DEBUG 4

/* Flags of encoding. Without PARSE_SPECIAL all text is plain text, also "<eom>". */
#define MOSSRT_ENCODE_ADD_SPECIAL 1u   /* bos/eos where the tokenizer's own config asks for them */
#define MOSSRT_ENCODE_PARSE_SPECIAL 2u /* control tokens written out become their ids */
#define MOSSRT_ENCODE_REPLACE_INVALID 4u /* invalid UTF-8 becomes U+FFFD instead of an error */

/* Flags of decoding. */
#define MOSSRT_DECODE_SKIP_SPECIAL 1u /* leave control tokens out */
#define MOSSRT_DECODE_RAW_BYTES 2u    /* bytes as they are, which need not be whole code points */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mossrt_error mossrt_error;
typedef struct mossrt_options mossrt_options;
typedef struct mossrt_monitor mossrt_monitor;
typedef struct mossrt_model mossrt_model;
typedef struct mossrt_tokenizer mossrt_tokenizer;
typedef struct mossrt_detok mossrt_detok;
typedef struct mossrt_session mossrt_session;
typedef struct mossrt_sampler mossrt_sampler;
typedef struct mossrt_generation mossrt_generation;
typedef struct mossrt_backend mossrt_backend;
typedef struct mossrt_chat mossrt_chat;
typedef struct mossrt_plugin_call mossrt_plugin_call; /* lives during one call of a plugin */
typedef struct mossrt_weight mossrt_weight;           /* lives during one call of a pack function */

typedef void (*mossrt_log_fn)(void* user, int32_t level, const char* text, size_t len);
/* `size` bytes aligned to `alignment` (a power of two, at most 64), or NULL. Neither throws. */
typedef void* (*mossrt_alloc_fn)(void* user, size_t size, size_t alignment);
typedef void (*mossrt_dealloc_fn)(void* user, void* p);
/* Progress of a stage ("load", "prefill", ...) in units of its own; done == total at its end. */
typedef int32_t (*mossrt_tick_fn)(void* user, const char* stage, uint64_t done, uint64_t total);
/* Changes logits [n_logits] in place; ids are all tokens so far, the prompt's included. */
typedef int32_t (*mossrt_logits_fn)(void* user, const int32_t* ids, size_t n_ids, float* logits,
                                    size_t n_logits);
/* Values [rows, cols] of a named point, readable and writable; row i starts at values + i * stride
 * and belongs to position first_position + i of the sequence. layer is -1 where there is none. */
typedef int32_t (*mossrt_hook_fn)(void* user, const char* name, int32_t layer,
                                  int64_t first_position, float* values, size_t rows, size_t cols,
                                  size_t stride);
/* The result of one command, given by mossrt_plugin_set_text or mossrt_plugin_add_snippet. argument
 * is what stands between the command's quotes. A negative return, and giving nothing, are
 * failures. */
typedef int32_t (*mossrt_plugin_fn)(void* user, const char* argument, size_t len,
                                    mossrt_plugin_call* call);
/* Frees what a user pointer points to. */
typedef void (*mossrt_destroy_fn)(void* user);
/* A piece of generated text (whole code points, may be empty) and the token that released it
 * (-1: none, at the end). */
typedef int32_t (*mossrt_text_fn)(void* user, const char* text, size_t len, int32_t token);

/* ---- Library ---------------------------------------------------------------------------------*/

/* MOSSRT_ABI_MAJOR * 65536 + MOSSRT_ABI_MINOR of the library. While the major number is 0 both must
 * equal the header's; later a library serves headers of the same major and at most its minor. */
MOSSRT_API uint32_t mossrt_abi_version(void);

/* "0.1.0". Static. */
MOSSRT_API const char* mossrt_version(void);

/* What this machine offers and the library chose, as JSON: version, isa, cpu_features,
 * kernel_tables, threads (default), backends, memory_available (bytes), float_environment. */
MOSSRT_API mossrt_error* mossrt_system_info(char** json, size_t* len);

/* Sends messages of at most `level` (MOSSRT_LOG_*) to fn, on whatever thread they arise; fn must
 * neither log nor throw. fn NULL or MOSSRT_LOG_OFF: silence, which is the default. */
MOSSRT_API mossrt_error* mossrt_set_log(mossrt_log_fn fn, void* user, int32_t level);

/* Memory of `T**` results (ids, texts, JSON) comes from these functions from now on; weights,
 * caches and handles do not. Both NULL: the default. Results are always freed by the function that
 * belongs to their allocation. */
MOSSRT_API mossrt_error* mossrt_set_allocator(mossrt_alloc_fn alloc, mossrt_dealloc_fn dealloc,
                                              void* user);

/* Frees memory of a `T**` result that is no handle. */
MOSSRT_API void mossrt_free(void* p);

/* ---- Errors ----------------------------------------------------------------------------------*/

/* MOSSRT_E_*; MOSSRT_OK for NULL. */
MOSSRT_API int32_t mossrt_error_code(const mossrt_error* e);

/* The negative number that a callback returned if the code is MOSSRT_E_CALLBACK, else 0. */
MOSSRT_API int32_t mossrt_error_callback_code(const mossrt_error* e);

/* A sentence that holds the offending value and what to do; "" for NULL. Lives as long as e. */
MOSSRT_API const char* mossrt_error_message(const mossrt_error* e);

MOSSRT_API void mossrt_error_free(mossrt_error* e);

/* ---- Options ---------------------------------------------------------------------------------*/

/* An empty set of options of one kind (MOSSRT_OPTIONS_*). Keys that are not set take their
 * defaults. Wherever a function takes options, NULL means none, and options of another kind are an
 * error. Values are copied by the call that takes the options. */
MOSSRT_API mossrt_error* mossrt_options_create(int32_t kind, mossrt_options** out);

/* Sets an integer, or a boolean as 0 or 1, or a number. */
MOSSRT_API mossrt_error* mossrt_options_set_int(mossrt_options* o, const char* key, int64_t value);

/* Sets a number; it must be finite. */
MOSSRT_API mossrt_error* mossrt_options_set_float(mossrt_options* o, const char* key, double value);

/* Sets a string. */
MOSSRT_API mossrt_error* mossrt_options_set_str(mossrt_options* o, const char* key,
                                                const char* value, size_t len);

/* Sets all keys of a JSON object; lists are set in this way: {"stop": ["\n"], "eos_token_id": [2]}.
 * null takes a key back to its default. Either all keys are set or, on an error, none. */
MOSSRT_API mossrt_error* mossrt_options_merge_json(mossrt_options* o, const char* json, size_t len);

/* The keys of a kind as JSON: {"kind": ..., "options": [{"name", "type", "default", "range",
 * "choices", "since", "doc"}, ...]}. Static. */
MOSSRT_API mossrt_error* mossrt_options_describe(int32_t kind, const char** json, size_t* len);

MOSSRT_API void mossrt_options_free(mossrt_options* o);

/* ---- Monitor: progress, cancellation, signals ------------------------------------------------*/

/* Long calls look at their monitor between layers and slabs of weights. fn (may be NULL) is called
 * at most once in min_interval_ms milliseconds (0: whenever they look), and at the end of a stage.
 */
MOSSRT_API mossrt_error* mossrt_monitor_create(mossrt_tick_fn fn, void* user,
                                               int32_t min_interval_ms, mossrt_monitor** out);

/* One atomic store: the call that uses the monitor, and every later one, ends with
 * MOSSRT_E_CANCELLED, a generation with MOSSRT_FINISH_CANCELLED. A monitor stays cancelled. */
MOSSRT_API void mossrt_monitor_cancel(mossrt_monitor* m);

MOSSRT_API void mossrt_monitor_free(mossrt_monitor* m);

/* ---- Model -----------------------------------------------------------------------------------*/

/* Loads a checkpoint directory as it was published, or a file of mossrt_model_save_packed, and its
 * tokenizer if there is one. o: MOSSRT_OPTIONS_LOAD or NULL. m may be NULL; its stage is "load", in
 * bytes. Errors: NOT_FOUND, IO, FORMAT, UNSUPPORTED, OUT_OF_MEMORY (before anything is allocated),
 * CANCELLED, CALLBACK. */
MOSSRT_API mossrt_error* mossrt_model_load(const char* path, const mossrt_options* o,
                                           mossrt_monitor* m, mossrt_model** out);

/* What mossrt_model_load would do, as JSON, from headers only: architecture, model_type,
 * hyper_params, parameters, dtype, memory (bytes by term), tensors (name, dtype, shape, bytes,
 * use), notes, config, tokenizer. */
MOSSRT_API mossrt_error* mossrt_model_inspect(const char* path, const mossrt_options* o,
                                              char** json, size_t* len);

/* Writes one file that holds the weights as this model has them in memory, its config.json,
 * generation_config.json, tokenizer and meta_instruction.txt; mossrt_model_load takes it in place
 * of the directory, much faster, and gives equal logits. The file appears whole or not at all; a
 * packed file of that name is replaced, any other file is not. The directory that the model was
 * loaded from must still be there. m may be NULL; its stage is "write", in bytes.
 * Errors: INVALID_ARGUMENT (a backend other than native, a name that is taken), NOT_FOUND, IO (no
 * space, no permission), OUT_OF_MEMORY, CANCELLED, CALLBACK. */
MOSSRT_API mossrt_error* mossrt_model_save_packed(const mossrt_model* model, const char* path,
                                                  mossrt_monitor* m);

MOSSRT_API void mossrt_model_free(mossrt_model* model);

/* JSON: version, file, architecture, model_type, hyper_params, parameters, dtype, backend, threads,
 * isa, numerics, numerics_hash, outside_kernels, memory (bytes by term), tokenizer (kind and size,
 * or null), notes, config, generation_config. Borrowed until the model is freed. */
MOSSRT_API mossrt_error* mossrt_model_info(const mossrt_model* model, const char** json,
                                           size_t* len);

/* One number of the model: vocab, hidden, layers, heads, kv_heads, head_dim, inner, max_positions,
 * rotary_dim, parameters, weight_bytes, kv_bytes_per_token (float32), threads. */
MOSSRT_API mossrt_error* mossrt_model_get_int(const mossrt_model* model, const char* key,
                                              int64_t* value);

/* The shape of a tensor by its name in the checkpoint: the first `capacity` dimensions into dims
 * (may be NULL if capacity is 0), their number into rank. */
MOSSRT_API mossrt_error* mossrt_model_tensor_shape(const mossrt_model* model, const char* name,
                                                   int64_t* dims, size_t capacity, size_t* rank);

/* The values of a tensor as the model holds them, widened to float32, in the checkpoint's shape and
 * order, row-major. dst holds `capacity` values; too few is MOSSRT_E_INVALID_ARGUMENT. dst NULL
 * with capacity 0 asks only for the count. */
MOSSRT_API mossrt_error* mossrt_model_tensor_read(const mossrt_model* model, const char* name,
                                                  float* dst, size_t capacity, size_t* count);

/* ---- Tokenizer -------------------------------------------------------------------------------*/

/* Loads the tokenizer of a checkpoint directory. o: MOSSRT_OPTIONS_TOKENIZER or NULL. */
MOSSRT_API mossrt_error* mossrt_tokenizer_load(const char* path, const mossrt_options* o,
                                               mossrt_tokenizer** out);

/* The model's own tokenizer; MOSSRT_E_NOT_FOUND if its directory has none. */
MOSSRT_API mossrt_error* mossrt_model_tokenizer(const mossrt_model* model, mossrt_tokenizer** out);

MOSSRT_API void mossrt_tokenizer_free(mossrt_tokenizer* t);

/* One more than the largest id; 0 for NULL. The model's vocabulary may be larger (padding). */
MOSSRT_API size_t mossrt_tokenizer_size(const mossrt_tokenizer* t);

/* "byte-level-bpe" or "sentencepiece"; "" for NULL. Static. */
MOSSRT_API const char* mossrt_tokenizer_kind(const mossrt_tokenizer* t);

/* Ids of a text; flags: MOSSRT_ENCODE_*. text may be NULL if len is 0. */
MOSSRT_API mossrt_error* mossrt_tokenizer_encode(const mossrt_tokenizer* t, const char* text,
                                                 size_t len, uint32_t flags, int32_t** ids,
                                                 size_t* n);

/* Text of ids; flags: MOSSRT_DECODE_*. ids may be NULL if n is 0. */
MOSSRT_API mossrt_error* mossrt_tokenizer_decode(const mossrt_tokenizer* t, const int32_t* ids,
                                                 size_t n, uint32_t flags, char** text,
                                                 size_t* len);

/* What a token adds to a text when it does not stand first; not necessarily whole code points, no
 * zero byte behind it. Borrowed until t is freed. */
MOSSRT_API mossrt_error* mossrt_tokenizer_token_bytes(const mossrt_tokenizer* t, int32_t id,
                                                      const char** bytes, size_t* len);

/* The id of a token by its exact name as files write it ("<eom>"); -1 if there is none. */
MOSSRT_API mossrt_error* mossrt_tokenizer_token_id(const mossrt_tokenizer* t, const char* name,
                                                   size_t len, int32_t* id);

/* Ids by role: "bos", "eos", "unk", "pad", or "all" control tokens. None: n = 0. Borrowed until t
 * is freed. */
MOSSRT_API mossrt_error* mossrt_tokenizer_special_ids(const mossrt_tokenizer* t, const char* role,
                                                      const int32_t** ids, size_t* n);

/* Incremental decoding: ids go in as they come, whole code points come out. flags:
 * MOSSRT_DECODE_SKIP_SPECIAL. */
MOSSRT_API mossrt_error* mossrt_detok_create(const mossrt_tokenizer* t, uint32_t flags,
                                             mossrt_detok** out);

/* The code points that these ids complete. Borrowed until the next call on d. */
MOSSRT_API mossrt_error* mossrt_detok_push(mossrt_detok* d, const int32_t* ids, size_t n,
                                           const char** text, size_t* len);

/* U+FFFD if a code point was left incomplete, else nothing; starts anew. Borrowed likewise. */
MOSSRT_API mossrt_error* mossrt_detok_flush(mossrt_detok* d, const char** text, size_t* len);

MOSSRT_API void mossrt_detok_free(mossrt_detok* d);

/* ---- Session: tokens and their KV cache ------------------------------------------------------*/

/* o: MOSSRT_OPTIONS_SESSION or NULL. */
MOSSRT_API mossrt_error* mossrt_session_create(const mossrt_model* model, const mossrt_options* o,
                                               mossrt_session** out);

MOSSRT_API void mossrt_session_free(mossrt_session* s);

/* Appends n tokens; n = 0 evaluates only what a generation appended last and left. o:
 * MOSSRT_OPTIONS_EVAL or NULL; its keys say what to keep: "logits"
 * ("none", "last" (default) or "all") and "hidden" (a list of layers). Stage of m: "prefill", in
 * tokens. MOSSRT_E_CONTEXT_FULL if they do not fit; nothing has changed then. After
 * MOSSRT_E_CANCELLED or MOSSRT_E_CALLBACK the tokens of finished chunks stay: see
 * mossrt_session_tokens. */
MOSSRT_API mossrt_error* mossrt_session_eval(mossrt_session* s, const int32_t* ids, size_t n,
                                             const mossrt_options* o, mossrt_monitor* m);

/* Logits that the last eval kept: [1, vocab] or [n, vocab]. MOSSRT_E_STATE says which option to
 * give if it kept none. */
MOSSRT_API mossrt_error* mossrt_session_logits(const mossrt_session* s, const float** data,
                                               size_t* rows, size_t* cols, size_t* stride);

/* Residual stream after a layer (0-based) that the last eval kept: [n, hidden]. */
MOSSRT_API mossrt_error* mossrt_session_hidden(const mossrt_session* s, int32_t layer,
                                               const float** data, size_t* rows, size_t* cols,
                                               size_t* stride);

/* All tokens in the session. */
MOSSRT_API mossrt_error* mossrt_session_tokens(const mossrt_session* s, const int32_t** ids,
                                               size_t* n);

/* Keeps the first n_tokens and forgets the rest. */
MOSSRT_API mossrt_error* mossrt_session_rewind(mossrt_session* s, size_t n_tokens);

/* An independent continuation that shares the cache up to here; it has no hooks. */
MOSSRT_API mossrt_error* mossrt_session_fork(const mossrt_session* s, mossrt_session** out);

/* The session as bytes (docs/saved-session.md), into a file at path, or, if path is NULL, into
 * *buffer, which mossrt_free frees; exactly one of both, and with a path len is NULL as well.
 * Tokens, cache, and the last logits if they are at hand come along; hooks, hidden states and
 * counters do not. Equal sessions give equal bytes. A file appears whole or not at all; a saved
 * session of that name is replaced, any other file is not. The first save or restore of a model
 * evaluates eight tokens, by which its weights are told from others.
 * Errors: INVALID_ARGUMENT (a name that is taken), NOT_FOUND (no such folder), IO (no space, no
 * permission), OUT_OF_MEMORY, BUSY. */
MOSSRT_API mossrt_error* mossrt_session_save(const mossrt_session* s, const char* path,
                                             void** buffer, size_t* len);

/* The same under a monitor, which may be NULL; its stage is "save", in bytes (where weights are
 * evaluated first, "eval" before it, in layers). What is cancelled leaves no file. Errors:
 * CANCELLED and CALLBACK as well. */
MOSSRT_API mossrt_error* mossrt_session_save_monitored(const mossrt_session* s, const char* path,
                                                       void** buffer, size_t* len,
                                                       mossrt_monitor* m);

/* A session that goes on as the saved one would have, to the bit: from the file at path, or, if
 * path is NULL, from len bytes at buffer; exactly one of both. Everything is checked before there
 * is a session. The model may be loaded anew, with other threads and instruction sets.
 * Errors: INVALID_ARGUMENT (saved by a model of another shape, with other numeric settings or other
 * weights), NOT_FOUND, IO, FORMAT (damaged, or no saved session), UNSUPPORTED (another version),
 * OUT_OF_MEMORY. */
MOSSRT_API mossrt_error* mossrt_session_restore(const mossrt_model* model, const char* path,
                                                const void* buffer, size_t len,
                                                mossrt_session** out);

/* The same under a monitor, which may be NULL; its stage is "restore", in bytes (and "eval", as for
 * saving). Errors: CANCELLED and CALLBACK as well. */
MOSSRT_API mossrt_error* mossrt_session_restore_monitored(const mossrt_model* model,
                                                          const char* path, const void* buffer,
                                                          size_t len, mossrt_monitor* m,
                                                          mossrt_session** out);

/* JSON: tokens, context, kv_dtype, kv_bytes, numerics, numerics_hash, evaluated_tokens,
 * eval_seconds. */
MOSSRT_API mossrt_error* mossrt_session_info(const mossrt_session* s, char** json, size_t* len);

/* Calls fn at a named point of every eval: embed norm1 q k v attn_out mlp_in mlp_act mlp_out resid
 * final_norm logits. layer: 0-based, or -1 for all layers; -1 for points without layers (embed,
 * final_norm, logits). Replaces the function set for the same name and layer; fn NULL removes it.
 */
MOSSRT_API mossrt_error* mossrt_session_set_hook(mossrt_session* s, const char* name, int32_t layer,
                                                 mossrt_hook_fn fn, void* user);

/* ---- Sampling and generation -----------------------------------------------------------------*/

/* A sampler of its own. o: MOSSRT_OPTIONS_GENERATE or NULL, of which the sampling keys count. */
MOSSRT_API mossrt_error* mossrt_sampler_create(const mossrt_options* o, mossrt_sampler** out);

/* Chooses a token from logits [n]. ids: the tokens so far (repetition penalty, and the position
 * that keys the random numbers); may be NULL if n_ids is 0. */
MOSSRT_API mossrt_error* mossrt_sampler_sample(mossrt_sampler* p, const int32_t* ids, size_t n_ids,
                                               const float* logits, size_t n, int32_t* token);

/* Log-probability of the last choice under the unprocessed logits, and the best alternatives
 * (option top_logprobs), descending. Every out parameter may be NULL. */
MOSSRT_API mossrt_error* mossrt_sampler_logprobs(const mossrt_sampler* p, float* logprob,
                                                 const int32_t** top_ids,
                                                 const float** top_logprobs, size_t* n);

/* Adds a logits processor behind the repetition penalty and before temperature. */
MOSSRT_API mossrt_error* mossrt_sampler_add_processor(mossrt_sampler* p, mossrt_logits_fn fn,
                                                      void* user);

MOSSRT_API void mossrt_sampler_free(mossrt_sampler* p);

/* Starts after the session's tokens, of which there must be at least one. o:
 * MOSSRT_OPTIONS_GENERATE or NULL; keys that are not set come from the directory's
 * generation_config.json, then from the family's recipe. m may be NULL; the generation keeps it. */
MOSSRT_API mossrt_error* mossrt_generation_start(mossrt_session* s, const mossrt_options* o,
                                                 mossrt_monitor* m, mossrt_generation** out);

/* What a generation with these options would use, before there is one: the list "options" of
 * mossrt_generation_info as JSON. */
MOSSRT_API mossrt_error* mossrt_model_generation_options(const mossrt_model* model,
                                                         const mossrt_options* o, char** json,
                                                         size_t* len);

/* As mossrt_sampler_add_processor; before the first mossrt_generation_next. */
MOSSRT_API mossrt_error* mossrt_generation_add_processor(mossrt_generation* g, mossrt_logits_fn fn,
                                                         void* user);

/* Makes one token. token: -1 if generation ended without one. text: whole code points released now,
 * maybe empty, borrowed until the next call on g. finish: MOSSRT_FINISH_*. After the end it repeats
 * the finish value with no token and no text. Every out parameter may be NULL. */
MOSSRT_API mossrt_error* mossrt_generation_next(mossrt_generation* g, int32_t* token,
                                                const char** text, size_t* len, int32_t* finish);

/* As mossrt_sampler_logprobs, for the last token. */
MOSSRT_API mossrt_error* mossrt_generation_logprobs(const mossrt_generation* g, float* logprob,
                                                    const int32_t** top_ids,
                                                    const float** top_logprobs, size_t* n);

/* JSON: options (a list of {"key", "value", "origin"}: "argument", "generation_config.json",
 * "config.json", "recipe:...", "default"), prompt_tokens, new_tokens, finish, seconds. */
MOSSRT_API mossrt_error* mossrt_generation_info(const mossrt_generation* g, char** json,
                                                size_t* len);

MOSSRT_API void mossrt_generation_free(mossrt_generation* g);

/* The push form: appends the prompt (encode_flags: MOSSRT_ENCODE_*) to the session, generates, and
 * hands every piece of text to fn. finish may be NULL. On an error the session keeps the tokens
 * that were appended. */
MOSSRT_API mossrt_error* mossrt_generate(mossrt_session* s, const char* prompt, size_t len,
                                         uint32_t encode_flags, const mossrt_options* o,
                                         mossrt_monitor* m, mossrt_text_fn fn, void* user,
                                         int32_t* finish);

/* ---- Conversations ---------------------------------------------------------------------------*/

/* A conversation in MOSS's protocol, as a state machine over token ids that knows no model. One
 * turn is: send; then, until mossrt_chat_next says DONE, either GENERATE (mossrt_chat_eval, and
 * every token of a generation with the options of mossrt_chat_set_options into mossrt_chat_push) or
 * RUN_COMMANDS (a result for each of mossrt_chat_commands); or mossrt_chat_advance, which does all
 * that. Texts sent and results are plain text:
 * role tags and control tokens in them are never real. o: MOSSRT_OPTIONS_CHAT or NULL.
 * Errors: INVALID_ARGUMENT, CONTEXT_FULL (the meta instruction alone is too long). */
MOSSRT_API mossrt_error* mossrt_chat_create(const mossrt_tokenizer* t, const mossrt_options* o,
                                            mossrt_chat** out);

/* What mossrt_chat_save gave, checked whole first. Of the options context, reserve, on_full,
 * commands and max_commands count, all else is as it was saved. */
MOSSRT_API mossrt_error* mossrt_chat_load(const mossrt_tokenizer* t, const char* saved, size_t len,
                                          const mossrt_options* o, mossrt_chat** out);

MOSSRT_API void mossrt_chat_free(mossrt_chat* c);

/* Begins a turn. MOSSRT_E_CONTEXT_FULL if it does not fit; nothing has changed then. */
MOSSRT_API mossrt_error* mossrt_chat_send(mossrt_chat* c, const char* text, size_t len);

/* What to do (MOSSRT_CHAT_*), and how a session that holds these tokens gets to hold the
 * conversation's: keep the first `keep` and add `add`. Borrowed. keep, add, n_add may be NULL. */
MOSSRT_API mossrt_error* mossrt_chat_next(const mossrt_chat* c, const int32_t* held, size_t n_held,
                                          int32_t* action, size_t* keep, const int32_t** add,
                                          size_t* n_add);

/* Does so with a session: rewinds it, and evaluates what it lacks. m may be NULL. */
MOSSRT_API mossrt_error* mossrt_chat_eval(const mossrt_chat* c, mossrt_session* s,
                                          mossrt_monitor* m);

/* Sets eos_token_id of options for a generation (MOSSRT_OPTIONS_GENERATE) to the tokens that end
 * what the model writes. */
MOSSRT_API mossrt_error* mossrt_chat_set_options(const mossrt_chat* c, mossrt_options* o);

/* These tokens themselves. Borrowed. */
MOSSRT_API mossrt_error* mossrt_chat_stop_ids(const mossrt_chat* c, const int32_t** ids, size_t* n);

/* A token that the model wrote, the one that ended it included. more: 0 if this generation is over,
 * also where no end token came, because the model went on as somebody else; may be NULL. */
MOSSRT_API mossrt_error* mossrt_chat_push(mossrt_chat* c, int32_t token, int32_t* more);

/* Before the first token of a generation, behind processors of your own: with the option
 * commands=constrained, and where the model is to write commands, makes all tokens impossible that
 * would leave a line that does not parse; in all other cases it changes nothing. The line ends
 * within the generation's max_new_tokens and context where they leave room for one. */
MOSSRT_API mossrt_error* mossrt_chat_constrain(const mossrt_chat* c, mossrt_generation* g);

/* The generation ended without an end token: MOSSRT_FINISH_LENGTH, CONTEXT_FULL, CANCELLED.
 * CANCELLED also where results are awaited: a turn that has no answer is taken back. */
MOSSRT_API mossrt_error* mossrt_chat_end(mossrt_chat* c, int32_t finish);

/* All of that in one: the next event of the turn that mossrt_chat_send began, as mossrt_chat_event
 * gives it. Evaluates, generates and runs the attached plugins as far as it takes; type NONE: the
 * turn is over. The session is made to hold the conversation. o: MOSSRT_OPTIONS_GENERATE (with
 * the end tokens of mossrt_chat_set_options in any case) or NULL; m may be NULL. A cancel ends the
 * turn: an answer stays as far as it came, a turn without one is taken back. Errors: those of the
 * calls that it does; the turn is open then, and mossrt_chat_undo takes it back. */
MOSSRT_API mossrt_error* mossrt_chat_advance(mossrt_chat* c, mossrt_session* s,
                                             const mossrt_options* o, mossrt_monitor* m,
                                             int32_t* type, const char** text, size_t* len,
                                             const int64_t** numbers, size_t* n);

/* Takes the next event (MOSSRT_CHAT_EVENT_*); text is whole code points and never a part of a
 * control token or role tag; numbers are those of a citation. Borrowed until the next event is
 * taken. All but type may be NULL. */
MOSSRT_API mossrt_error* mossrt_chat_event(mossrt_chat* c, int32_t* type, const char** text,
                                           size_t* len, const int64_t** numbers, size_t* n);

/* How many commands wait for a result. */
MOSSRT_API mossrt_error* mossrt_chat_commands(const mossrt_chat* c, size_t* n);

/* One of them: its name ("Calculate") and its argument. Borrowed. */
MOSSRT_API mossrt_error* mossrt_chat_command(const mossrt_chat* c, size_t index, const char** name,
                                             const char** argument, size_t* len);

/* The result of a command; text NULL: it failed, and so did those that are never set. */
MOSSRT_API mossrt_error* mossrt_chat_set_result(mossrt_chat* c, size_t index, const char* text,
                                                size_t len);

/* One more finding of a Search, best first; title may be NULL. */
MOSSRT_API mossrt_error* mossrt_chat_add_snippet(mossrt_chat* c, size_t index, const char* title,
                                                 size_t title_len, const char* text, size_t len);

/* All results are set. MOSSRT_E_CONTEXT_FULL if they do not fit; set shorter ones then. */
MOSSRT_API mossrt_error* mossrt_chat_end_commands(mossrt_chat* c);

/* Attaches a function to a command that the option plugins names; one of that name is replaced.
 * description: for people, may be NULL. timeout: seconds, more than 0.
 * fn runs on a thread of the library's, several at once where a turn has several commands of its
 * name. One that takes too long, or whose turn is cancelled, is no longer waited for and may run on
 * after mossrt_chat_run_commands and mossrt_chat_free have returned; user must live until then.
 * destroy (may be NULL) is called once, when nothing uses user any more: by the call that replaces
 * the plugin or frees the conversation, or on the thread that runs late. On an error it is not
 * called. */
MOSSRT_API mossrt_error* mossrt_chat_add_plugin(mossrt_chat* c, const char* name,
                                                const char* description, double timeout,
                                                mossrt_plugin_fn fn, void* user,
                                                mossrt_destroy_fn destroy);

/* Attaches a plugin that the library brings: "Calculate" or "Solve". */
MOSSRT_API mossrt_error* mossrt_chat_add_builtin_plugin(mossrt_chat* c, const char* name);

/* Where commands wait for results: runs the attached plugins of those that have none yet, side by
 * side, and ends the commands. Failures become "No result.", and the log tells them in full. m may
 * be NULL; its stage is "plugins", in commands.
 * Errors: NOT_FOUND (a command without a plugin), CANCELLED and CALLBACK (nothing has changed; see
 * mossrt_chat_end), CONTEXT_FULL (the results are set, but too long; see mossrt_chat_end_commands),
 * STATE. */
MOSSRT_API mossrt_error* mossrt_chat_run_commands(mossrt_chat* c, mossrt_monitor* m);

/* Inside a plugin: its result. */
MOSSRT_API mossrt_error* mossrt_plugin_set_text(mossrt_plugin_call* call, const char* text,
                                                size_t len);

/* Inside a plugin for Search: one more finding, best first; title may be NULL. */
MOSSRT_API mossrt_error* mossrt_plugin_add_snippet(mossrt_plugin_call* call, const char* title,
                                                   size_t title_len, const char* text, size_t len);

/* Inside a plugin that is about to fail: why, for the log. */
MOSSRT_API mossrt_error* mossrt_plugin_set_error(mossrt_plugin_call* call, const char* text,
                                                 size_t len);

/* Inside a plugin: 0 if nobody waits for its result any more, so that it may end. */
MOSSRT_API int32_t mossrt_plugin_wanted(const mossrt_plugin_call* call);

/* All tokens of the conversation, as the model sees them. Borrowed. */
MOSSRT_API mossrt_error* mossrt_chat_ids(const mossrt_chat* c, const int32_t** ids, size_t* n);

/* The last turn as JSON: human, thoughts, commands (name, argument, result, ok), commands_text,
 * results, answer, sources, citations, repairs, notices, role_tags, control_tokens, altered, cut,
 * ended. "null" if there is none. */
MOSSRT_API mossrt_error* mossrt_chat_turn(const mossrt_chat* c, char** json, size_t* len);

/* JSON: profile, plugins, meta (text, source, notes, tokens, ...), tokens, context, reserve,
 * on_full, turns (human, answer, tokens, results_dropped, ended), attached (name, description,
 * timeout). */
MOSSRT_API mossrt_error* mossrt_chat_info(const mossrt_chat* c, char** json, size_t* len);

/* Takes back the open turn, or else the last one. undone: 0 if there is none; may be NULL. */
MOSSRT_API mossrt_error* mossrt_chat_undo(mossrt_chat* c, int32_t* undone);

/* The conversation as JSON with a checksum, between turns (else MOSSRT_E_STATE). */
MOSSRT_API mossrt_error* mossrt_chat_save(const mossrt_chat* c, char** saved, size_t* len);

/* Turns as published data has them, a JSON list of objects with the keys "Human", "Inner Thoughts",
 * "Commands", "Tool Responses", "MOSS" (with or without their tags), as ids. In the last one the
 * first missing field that the model writes is opened. Fields that the profile lacks are left out.
 */
MOSSRT_API mossrt_error* mossrt_chat_render(const mossrt_tokenizer* t, const mossrt_options* o,
                                            const char* turns, size_t len, int32_t** ids,
                                            size_t* n);

/* The commands in a text, as JSON: commands (name, argument), strict (is it without a fault?),
 * unknown (names), rest (what was not understood). strict: else there is no command at all. names:
 * what counts as commands, joined by commas; NULL: Search, Calculate, Solve, Text2Image. */
MOSSRT_API mossrt_error* mossrt_chat_parse_commands(const char* text, size_t len, int32_t strict,
                                                    const char* names, char** json,
                                                    size_t* json_len);

/* ---- Matrix product backends -----------------------------------------------------------------*/

/* Turns a weight matrix [rows, cols] = [outputs, inputs] into a form of the backend's own, which
 * *packed points to. Rows are read with mossrt_weight_read. */
typedef int32_t (*mossrt_pack_fn)(void* user, const mossrt_weight* w, const char* name, size_t rows,
                                  size_t cols, void** packed);
/* Prepares an input x [m, k] that several products share (rounding, quantising). *prepared is NULL
 * or what an earlier call left there, whose memory may be used again. */
typedef int32_t (*mossrt_prepare_fn)(void* user, const float* x, size_t m, size_t k,
                                     void** prepared);
/* y [m, n] = x [m, k] times the transpose of the packed matrix [n, k]; row i of y starts at
 * y + i * y_stride. prepared is NULL without a prepare function. */
typedef int32_t (*mossrt_run_fn)(void* user, const void* packed, const void* prepared,
                                 const float* x, size_t m, size_t k, float* y, size_t n,
                                 size_t y_stride);
/* One row of a packed matrix as float32 [cols]. May be called on several threads at once, also on
 * the library's. */
typedef int32_t (*mossrt_read_row_fn)(void* user, const void* packed, size_t row, float* out);
/* Frees what pack or prepare made. */
typedef void (*mossrt_backend_free_fn)(void* user, void* p);

/* A matrix product of the program's own, chosen by the load option "backend". Its functions are
 * called on the thread that calls the library; inside they may use threads. */
MOSSRT_API mossrt_error* mossrt_backend_create(const char* name, mossrt_backend** out);
MOSSRT_API mossrt_error* mossrt_backend_set_pack(mossrt_backend* b, mossrt_pack_fn fn, void* user);
/* May be left out. */
MOSSRT_API mossrt_error* mossrt_backend_set_prepare(mossrt_backend* b, mossrt_prepare_fn fn,
                                                    void* user);
MOSSRT_API mossrt_error* mossrt_backend_set_run(mossrt_backend* b, mossrt_run_fn fn, void* user);
/* May be left out: then the library keeps a float32 copy of every matrix. */
MOSSRT_API mossrt_error* mossrt_backend_set_read_row(mossrt_backend* b, mossrt_read_row_fn fn,
                                                     void* user);
MOSSRT_API mossrt_error* mossrt_backend_set_free(mossrt_backend* b, mossrt_backend_free_fn fn,
                                                 void* user);

/* Makes the backend known under its name, for the life of the process; pack, run and free must be
 * set. Functions and user pointers must stay valid. The handle may be freed afterwards. */
MOSSRT_API mossrt_error* mossrt_backend_register(mossrt_backend* b);

MOSSRT_API void mossrt_backend_free(mossrt_backend* b);

/* Inside a pack function: rows [first, first + count) as dense float32 [count, cols] into out. */
MOSSRT_API mossrt_error* mossrt_weight_read(const mossrt_weight* w, size_t first, size_t count,
                                            float* out);

/* ---- Plugins of a conversation ---------------------------------------------------------------*/

/* The value of an arithmetic expression, written as Python's repr writes it: integers of any size,
 * doubles, + - * / // % ^ and **, brackets, the functions of Python's math, pi and e, and the signs
 * that people type (docs/plugins.md). Whatever the expression is, the call ends soon.
 * Errors: INVALID_ARGUMENT. */
MOSSRT_API mossrt_error* mossrt_calculate(const char* expression, size_t len, char** value,
                                          size_t* value_len);

/* The solution of equations, as SymPy prints it: "x = 160/3", one unknown a line in the order of
 * their names; of several roots x_0, x_1, ... Equations are separated by ";", "," or new lines;
 * linear systems and polynomials in one unknown are solved (docs/plugins.md).
 * Errors: INVALID_ARGUMENT (no equations, or no solution), UNSUPPORTED (equations of another kind
 * or size). */
MOSSRT_API mossrt_error* mossrt_solve(const char* equations, size_t len, char** solution,
                                      size_t* solution_len);

#ifdef __cplusplus
}
#endif
#endif
