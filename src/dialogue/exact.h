// Integers and fractions of any size, and the way between them and doubles, always rounded to
// nearest. Boost.Multiprecision does the arithmetic: headers alone, so nothing is linked or seen by
// programs, and it throws where GMP would end the process.
#pragma once

#include <boost/multiprecision/cpp_int.hpp>
#include <cstddef>
#include <string>

namespace mossrt::runtime {

using BigInt = boost::multiprecision::number<boost::multiprecision::cpp_int_backend<>,
                                             boost::multiprecision::et_off>;
using Rational = boost::multiprecision::number<
    boost::multiprecision::rational_adaptor<boost::multiprecision::cpp_int_backend<>>,
    boost::multiprecision::et_off>;

// Bits of |x|; 0 for 0.
std::size_t BitLength(const BigInt& x);
// Towards minus infinity, as Python divides; b must not be 0.
BigInt FloorDivide(const BigInt& a, const BigInt& b);
// 10^n; n must not be negative.
BigInt PowerOfTen(int n);
// n / d to the nearest integer, halves to the even one; d > 0.
BigInt RoundedQuotient(const BigInt& n, const BigInt& d);

// The double nearest to n / d, halves to even; infinite where none is large enough. d must not
// be 0.
double RatioToDouble(const BigInt& n, const BigInt& d);
inline double ToDouble(const BigInt& n) { return RatioToDouble(n, 1); }
double ToDouble(const Rational& x);
// The value of a finite double.
Rational ExactValue(double x);
// The integer part of a finite double.
BigInt Truncate(double x);

// Decimal digits with a "-" where negative.
std::string Digits(const BigInt& x);
// A finite double as Python's repr writes it: the fewest digits that give it back, "1e+16",
// "1e-05".
std::string PythonRepr(double x);

}  // namespace mossrt::runtime
