// Simple roots of a polynomial in numbers of a hundred digits, all at once.
#pragma once

#include <boost/multiprecision/cpp_bin_float.hpp>
#include <vector>

#include "dialogue/roots.h"

namespace mossrt::runtime {

using BigFloat =
    boost::multiprecision::number<boost::multiprecision::cpp_bin_float_100::backend_type,
                                  boost::multiprecision::et_off>;

struct BigComplex {
  BigFloat re, im;
};

inline BigComplex operator+(const BigComplex& a, const BigComplex& b) {
  return {a.re + b.re, a.im + b.im};
}
inline BigComplex operator-(const BigComplex& a, const BigComplex& b) {
  return {a.re - b.re, a.im - b.im};
}
inline BigComplex operator*(const BigComplex& a, const BigComplex& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
inline BigFloat Norm(const BigComplex& a) { return a.re * a.re + a.im * a.im; }
inline BigComplex operator/(const BigComplex& a, const BigComplex& b) {
  const BigFloat norm = Norm(b);
  return {(a.re * b.re + a.im * b.im) / norm, (a.im * b.re - a.re * b.im) / norm};
}

// Empty if they did not settle to sixty digits. The polynomial has no multiple root and not the
// root 0.
std::vector<BigComplex> NumericRoots(const IntegerPolynomial& polynomial);

}  // namespace mossrt::runtime
