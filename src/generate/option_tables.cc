// The options of every kind: one row feeds parsing, errors, the JSON schema, docs and bindings.
#include <limits>

#include "mossrt/runtime/options.h"

namespace mossrt::runtime {
namespace {

constexpr double kHuge = std::numeric_limits<double>::max();
constexpr double kMaxInt = 9007199254740991.0;  // 2^53 - 1: exact in a double and in JavaScript

constexpr OptionInfo kLoad[] = {
    {"dtype", OptionType::kString, "\"auto\"", 0, 0, "", "0.1",
     "How matrices are held: auto (as the file has them), float32, float16, bfloat16, or int8 or "
     "int4, these with a group size, -asym and -search if wanted, as in int4-g128-asym."},
    {"overrides", OptionType::kStringList, "[]", 0, 0, "", "0.2",
     "pattern=format for tensors that are held otherwise, as in \"lm_head.*=float16\"."},
    {"backend", OptionType::kString, "\"native\"", 0, 0, "", "0.1",
     "Matrix products: native, reference, eigen, openblas, cblas:/path/lib.so or a registered "
     "name."},
    {"architecture", OptionType::kString, "\"\"", 0, 0, "", "0.1",
     "Name of the architecture; empty: chosen by config.json."},
    {"threads", OptionType::kInt, "0", 0, 1024, "", "0.1",
     "Threads that compute; 0: physical cores that affinity mask and cgroup quota allow."},
    {"verify_crc", OptionType::kBool, "true", 0, 0, "", "0.1",
     "Compare the checksums of zip archives and packed files while reading."},
    {"huge_pages", OptionType::kBool, "true", 0, 0, "", "0.1",
     "Ask the kernel for huge pages for weights."},
    {"mmap", OptionType::kBool, "false", 0, 0, "", "0.2",
     "Of a packed file: use its pages as they are, shared with other processes, instead of reading "
     "it. The file must not be cut short meanwhile."},
    {"memory_limit", OptionType::kInt, "0", 0, kMaxInt, "", "0.1",
     "Bytes the model may take; 0: what the machine and its cgroup have."},
};

constexpr OptionInfo kSession[] = {
    {"kv_dtype", OptionType::kString, "\"auto\"", 0, 0, "auto|float32|bfloat16|int8", "0.1",
     "Type of the key/value cache, to which queries and probabilities are rounded too; int8: one "
     "scale for each token and head. auto: int8 for matrices of integers, else bfloat16 for "
     "bfloat16 and float32 for the others."},
    {"context", OptionType::kInt, "0", 0, kMaxInt, "", "0.1",
     "Most tokens a session may hold; 0: the positions of the model."},
    {"prefill_chunk", OptionType::kInt, "0", 0, 512, "", "0.1",
     "Tokens per pass over the model; 0: at most 256, fewer where a cancel would not be seen "
     "within 100 ms. It never changes a result."},
};

constexpr OptionInfo kGenerate[] = {
    {"max_new_tokens", OptionType::kInt, "256", -1, kMaxInt, "", "0.1",
     "Most tokens to generate; -1: until the context is full."},
    {"min_new_tokens", OptionType::kInt, "0", 0, kMaxInt, "", "0.1",
     "End tokens are forbidden before so many new tokens; more than max_new_tokens is an error "
     "(transformers warns)."},
    {"do_sample", OptionType::kBool, "false", 0, 0, "", "0.1",
     "Draw tokens at random; false: always the most probable one, and temperature, top_k, top_p "
     "and min_p have no effect."},
    {"temperature", OptionType::kFloat, "1.0", 0, kHuge, "", "0.1",
     "Logits are divided by it; above 0 when do_sample is true."},
    {"top_k", OptionType::kInt, "0", 0, kMaxInt, "", "0.1",
     "Keep the k most probable tokens and what ties with the last of them; 0: off."},
    {"top_p", OptionType::kFloat, "1.0", 0, 1, "", "0.1",
     "Keep the fewest most probable tokens whose probabilities reach this sum; 1: off."},
    {"min_p", OptionType::kFloat, "0.0", 0, 1, "", "0.1",
     "Keep tokens with at least this share of the best token's probability; 0: off."},
    {"repetition_penalty", OptionType::kFloat, "1.0", 0, 1e30, "", "0.1",
     "Positive logits of tokens that occurred, also in the prompt, are divided by it, negative "
     "ones multiplied; 1: off."},
    {"seed", OptionType::kInt, "0", 0, 18446744073709551615.0, "", "0.1",
     "Key of the random numbers; equal seeds give equal tokens."},
    {"sample_index", OptionType::kInt, "0", 0, 18446744073709551615.0, "", "0.1",
     "Which of several samples of one request this is; each has random numbers of its own."},
    {"eos_token_id", OptionType::kIntList, "null", 0, 2147483647, "", "0.1",
     "Ids that end generation: one or a list. Default: generation_config.json, config.json, and "
     "for MOSS <eom> and <|endoftext|>, else the tokenizer's."},
    {"stop", OptionType::kStringList, "[]", 0, 0, "", "0.1",
     "Strings that end generation; they are never part of the text."},
    {"top_logprobs", OptionType::kInt, "0", 0, 64, "", "0.1",
     "How many alternatives to report for each token."},
    {"mask_undefined", OptionType::kBool, "true", 0, 0, "", "0.1",
     "Ids at and beyond the tokenizer's size are never chosen."},
    {"skip_special_tokens", OptionType::kBool, "true", 0, 0, "", "0.1",
     "Leave special tokens, and the one that ended generation, out of the text (not of the ids)."},
};

constexpr OptionInfo kEval[] = {
    {"logits", OptionType::kString, "\"last\"", 0, 0, "none|last|all", "0.1",
     "Rows whose logits are computed."},
    {"hidden", OptionType::kIntList, "[]", 0, 2147483647, "", "0.1",
     "Layers (from 0) whose output is kept for every token of the call."},
};

constexpr OptionInfo kTokenizer[] = {
    {"added_tokens", OptionType::kString, "\"lossless\"", 0, 0, "lossless|hf-4.25", "0.1",
     "hf-4.25: white space beside added tokens that are not special is dropped, as transformers "
     "4.25 did."},
};

constexpr OptionInfo kChat[] = {
    {"profile", OptionType::kString, "\"\"", 0, 0, "", "0.2",
     "moss-plugin, moss, readme, demo, vortex or opencompass; empty: moss-plugin where there are "
     "plugins, else moss."},
    {"profile_json", OptionType::kString, "\"\"", 0, 0, "", "0.2",
     "A profile of one's own as JSON, instead of profile."},
    {"plugins", OptionType::kStringList, "[]", 0, 0, "", "0.2",
     "Names of the commands that run: Search, Calculate, Solve, Text2Image or others."},
    {"meta", OptionType::kString, "null", 0, 0, "", "0.2",
     "The whole meta instruction, as it is; empty: none. Default: a head and the switch lines of "
     "the plugins."},
    {"meta_instruction", OptionType::kString, "null", 0, 0, "", "0.2",
     "What OpenMOSS/MOSS's meta_instruction.txt holds, for the head. Default: the checkpoint's "
     "file of that name, else a head in mossrt's own words."},
    {"date", OptionType::kString, "\"\"", 0, 0, "", "0.2",
     "Today as YYYY-MM-DD, for profiles that state it (vortex)."},
    {"context", OptionType::kInt, "0", 0, kMaxInt, "", "0.2",
     "Most tokens of the conversation, as the session has them; 0: no limit."},
    {"reserve", OptionType::kInt, "0", 0, kMaxInt, "", "0.2",
     "Tokens kept free for what the model writes; 0: 512, but at most a quarter of the context."},
    {"on_full", OptionType::kString, "\"cut\"", 0, 0, "cut|error", "0.2",
     "When the context is full: cut old results, then whole old turns; or error."},
    {"commands", OptionType::kString, "\"tolerant\"", 0, 0, "tolerant|strict|constrained", "0.2",
     "How commands are read: every one that can be found; only a line without a fault; or such a "
     "line, which the model cannot help writing (mossrt_chat_constrain)."},
    {"max_commands", OptionType::kInt, "4", 0, 64, "", "0.2", "Most commands of one turn."},
};

}  // namespace

std::span<const OptionInfo> OptionTable(OptionKind kind) {
  switch (kind) {
    case OptionKind::kLoad:
      return kLoad;
    case OptionKind::kSession:
      return kSession;
    case OptionKind::kGenerate:
      return kGenerate;
    case OptionKind::kEval:
      return kEval;
    case OptionKind::kTokenizer:
      return kTokenizer;
    case OptionKind::kChat:
      return kChat;
  }
  return {};
}

}  // namespace mossrt::runtime
