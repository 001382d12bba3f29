// Numbers as SymPy prints them: 160/3, 1/2 - sqrt(5)/2, 1.41421356237310, -1 + 2*I.
#pragma once

#include <string>

#include "dialogue/roots.h"

namespace mossrt::runtime {

std::string SympyText(const Rational& x);
// Fifteen digits; without zeros at their end where the number is a part of a sum.
std::string SympyText(double x, bool part = false);
std::string SympyText(const Approximate& x);
std::string SympyText(const Surd& x);

}  // namespace mossrt::runtime
