// As header_test.c, from C++.
#include "mossrt/mossrt.h"
#include "mossrt/mossrt.hpp"
#include "mossrt/mossrt.hpp"

int main() { return mossrt::Finish::kNone == mossrt::Finish{} ? 0 : 1; }
