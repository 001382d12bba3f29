// As header_test.c, from C++.
#include "mossrt/mossrt.h"
// It would drop the second include.
// clang-format off
#include "mossrt/mossrt.hpp"
#include "mossrt/mossrt.hpp"
// clang-format on

int main() { return mossrt::Finish::kNone == mossrt::Finish{} ? 0 : 1; }
