// Counts what a test program takes from the heap, for tests that must notice an allocation.
#pragma once

namespace mossrt::runtime {

// Calls of operator new since the program began, by all threads.
long long AllocationCount();

}  // namespace mossrt::runtime
