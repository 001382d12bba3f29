// mossrt.hpp - C++20 over mossrt.h: header-only, RAII, one exception type. Objects move but do not
// copy, and may be destroyed in any order. What a function does, its shapes and its errors stand at
// the C function of the same name; spans and string_views it returns are borrowed as there.
// Threads: Model and Tokenizer serve many at once, all else one call at a time (else Error with
// kBusy).
#pragma once

#include "mossrt/hpp/backend.hpp"
#include "mossrt/hpp/chat.hpp"
#include "mossrt/hpp/library.hpp"
#include "mossrt/hpp/model.hpp"
#include "mossrt/hpp/plugins.hpp"
#include "mossrt/hpp/session.hpp"
#include "mossrt/hpp/tokenizer.hpp"
#include "mossrt/mossrt.h"
