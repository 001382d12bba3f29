#include "dialogue/roots.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/status.h"
#include "dialogue/numeric_roots.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

// Bounds the work, and keeps a hundred digits enough.
constexpr std::size_t kMaxDegree = 30;
constexpr std::size_t kMaxBits = 150;  // of a coefficient, from the third degree on
constexpr std::size_t kMaxQuadraticBits = 8192;

absl::Status TooLarge() {
  return absl::UnimplementedError(
      Cat("the solver finds roots up to degree ", kMaxDegree, " with coefficients of ", kMaxBits,
          " bits; this polynomial is larger, or its roots lie too close together"));
}

IntegerPolynomial Derivative(const IntegerPolynomial& p) {
  IntegerPolynomial out;
  for (std::size_t i = 1; i < p.size(); ++i) out.push_back(p[i] * static_cast<unsigned>(i));
  return out;
}

// a modulo b times a positive number.
IntegerPolynomial Remainder(IntegerPolynomial a, const IntegerPolynomial& b) {
  const BigInt size = mp::abs(b.back());
  while (a.size() >= b.size()) {
    const BigInt factor = b.back() < 0 ? BigInt(-a.back()) : a.back();
    const std::size_t shift = a.size() - b.size();
    for (BigInt& c : a) c *= size;
    for (std::size_t i = 0; i < b.size(); ++i) a[shift + i] -= factor * b[i];
    while (!a.empty() && a.back().is_zero()) a.pop_back();
    a = Primitive(std::move(a));
  }
  return a;
}

// The number of distinct real roots, after Sturm.
std::size_t RealRoots(const IntegerPolynomial& p) {
  std::vector<IntegerPolynomial> chain = {p, Primitive(Derivative(p))};
  while (chain.back().size() > 1) {
    IntegerPolynomial next = Remainder(chain[chain.size() - 2], chain.back());
    if (next.empty()) break;
    for (BigInt& c : next) c = -c;
    chain.push_back(std::move(next));
  }
  const auto changes = [&](bool at_minus_infinity) {
    int count = 0, last = 0;
    for (const IntegerPolynomial& q : chain) {
      int sign = q.back() < 0 ? -1 : 1;
      if (at_minus_infinity && q.size() % 2 == 0) sign = -sign;
      count += last != 0 && sign != last;
      last = sign;
    }
    return count;
  };
  return static_cast<std::size_t>(changes(true) - changes(false));
}

// x = square^2 * rest; squares of primes below 2^15 are found, and a rest that is one.
struct Square {
  BigInt root = 1, rest;
};
Square SplitSquare(BigInt x) {
  Square out;
  const BigInt whole = mp::sqrt(x);
  if (whole * whole == x) return {whole, 1};
  for (unsigned prime = 2; prime < (1u << 15) && BigInt(prime) * prime <= x;
       prime += prime == 2 ? 1 : 2) {
    const unsigned square = prime * prime;
    while (x % square == 0) {
      x /= square;
      out.root *= prime;
    }
  }
  out.rest = x;
  return out;
}

// Roots of a polynomial of degree 1 or 2, in their order.
void AppendExact(IntegerPolynomial p, std::vector<Root>* out) {
  if (p.back() < 0) {  // Boost's fractions take no negative denominator
    for (BigInt& c : p) c = -c;
  }
  if (p.size() == 2) {
    out->push_back(Surd{Rational(BigInt(-p[0]), p[1]), 0});
    return;
  }
  const BigInt& a = p[2];
  const BigInt discriminant = p[1] * p[1] - 4 * a * p[0];
  Surd root;
  root.imaginary = discriminant < 0;
  root.rational = Rational(BigInt(-p[1]), BigInt(2 * a));
  if (discriminant.is_zero()) {
    out->push_back(root);
    return;
  }
  const Square square = SplitSquare(mp::abs(discriminant));
  const Rational factor(square.root, BigInt(2 * a));
  for (const int sign : {-1, 1}) {
    root.factor = factor * sign;
    root.radicand = square.rest;
    if (square.rest == 1 && !root.imaginary) {
      out->push_back(Surd{root.rational + root.factor, 0});
    } else {
      out->push_back(root);
    }
  }
}

// The integer that x is but for noise.
std::optional<BigInt> NearInteger(const BigComplex& x) {
  const BigFloat rounded = mp::round(x.re);
  const BigFloat noise = mp::ldexp(BigFloat(1), -40);
  if (mp::abs(x.im) > noise || mp::abs(x.re - rounded) > noise) return std::nullopt;
  return BigInt(rounded);
}

// A factor of p of degree 1 or 2 among its numeric roots, which it takes away. By Gauss's lemma its
// coefficients are integers once multiplied by the leading one of p.
bool TakeFactor(IntegerPolynomial* p, std::vector<BigComplex>* roots, bool quadratic,
                IntegerPolynomial* factor) {
  const BigComplex lead = {BigFloat(p->back()), 0};
  const auto try_factor = [&](const BigComplex& sum, const BigComplex& product) {
    const auto b = NearInteger(lead * sum), c = NearInteger(lead * product);
    if (!b || (quadratic && !c)) return false;
    *factor = quadratic ? Primitive({*c, -*b, p->back()}) : Primitive({-*b, p->back()});
    IntegerPolynomial quotient;
    if (!DivideExactly(*p, *factor, &quotient)) return false;
    *p = std::move(quotient);
    return true;
  };
  for (std::size_t i = 0; i < roots->size(); ++i) {
    if (!quadratic) {
      if (!try_factor((*roots)[i], {0, 0})) continue;
      roots->erase(roots->begin() + static_cast<std::ptrdiff_t>(i));
      return true;
    }
    for (std::size_t j = i + 1; j < roots->size(); ++j) {
      if (!try_factor((*roots)[i] + (*roots)[j], (*roots)[i] * (*roots)[j])) continue;
      roots->erase(roots->begin() + static_cast<std::ptrdiff_t>(j));
      roots->erase(roots->begin() + static_cast<std::ptrdiff_t>(i));
      return true;
    }
  }
  return false;
}

absl::Status AppendHigher(IntegerPolynomial p, std::vector<Root>* out) {
  std::vector<BigComplex> roots = NumericRoots(p);
  if (roots.size() + 1 != p.size()) return TooLarge();
  IntegerPolynomial factor;
  for (const bool quadratic : {false, true}) {
    while (p.size() > 1 && TakeFactor(&p, &roots, quadratic, &factor)) AppendExact(factor, out);
  }
  if (p.size() == 1) return absl::OkStatus();

  // Sturm tells how many are real: those with the least imaginary parts, far less than the others'.
  const std::size_t real = RealRoots(p);
  std::sort(roots.begin(), roots.end(), [](const BigComplex& a, const BigComplex& b) {
    return a.im * a.im * Norm(b) < b.im * b.im * Norm(a);
  });
  const BigFloat bound = mp::ldexp(BigFloat(1), -300);
  for (std::size_t i = 0; i < roots.size(); ++i) {
    BigComplex& z = roots[i];
    if ((z.im * z.im <= Norm(z) * bound) != (i < real)) return TooLarge();
    if (i < real) z.im = 0;
    if (z.re * z.re <= Norm(z) * bound) z.re = 0;
    out->push_back(Approximate{z.re.convert_to<double>(), z.im.convert_to<double>()});
  }
  return absl::OkStatus();
}

}  // namespace

IntegerPolynomial Primitive(IntegerPolynomial p) {
  while (!p.empty() && p.back().is_zero()) p.pop_back();
  BigInt common = 0;
  for (const BigInt& c : p) common = mp::gcd(common, c);
  if (common > 1) {
    for (BigInt& c : p) c /= common;
  }
  return p;
}

IntegerPolynomial CommonDivisor(IntegerPolynomial a, IntegerPolynomial b) {
  a = Primitive(std::move(a));
  b = Primitive(std::move(b));
  while (!b.empty()) {
    IntegerPolynomial rest = Remainder(std::move(a), b);
    a = std::move(b);
    b = std::move(rest);
  }
  if (a.size() == 1) return {1};
  return a;
}

absl::Status CheckSize(const IntegerPolynomial& p) {
  std::size_t bits = 0;
  for (const BigInt& c : p) bits = std::max(bits, BitLength(c));
  const bool quadratic = p.size() <= 3;
  if (p.size() - 1 > kMaxDegree || bits > (quadratic ? kMaxQuadraticBits : kMaxBits)) {
    return TooLarge();
  }
  return absl::OkStatus();
}

bool DivideExactly(const IntegerPolynomial& a, const IntegerPolynomial& b, IntegerPolynomial* out) {
  if (a.size() < b.size()) return false;
  IntegerPolynomial rest = a;
  out->assign(a.size() - b.size() + 1, 0);
  for (std::size_t shift = out->size(); shift-- > 0;) {
    BigInt left;
    mp::divide_qr(rest[shift + b.size() - 1], b.back(), (*out)[shift], left);
    if (!left.is_zero()) return false;
    for (std::size_t i = 0; i < b.size(); ++i) rest[shift + i] -= (*out)[shift] * b[i];
  }
  return std::all_of(rest.begin(), rest.end(), [](const BigInt& c) { return c.is_zero(); });
}

absl::StatusOr<std::vector<Root>> FindRoots(const IntegerPolynomial& polynomial) {
  MOSSRT_RETURN_IF_ERROR(CheckSize(polynomial));
  IntegerPolynomial p = polynomial;
  std::vector<Root> roots;
  if (p[0].is_zero()) {
    roots.push_back(Surd{});
    p.erase(p.begin(),
            std::find_if(p.begin(), p.end(), [](const BigInt& c) { return !c.is_zero(); }));
  }
  if (p.size() > 2) {  // each root once
    IntegerPolynomial simple;
    if (!DivideExactly(p, CommonDivisor(p, Derivative(p)), &simple)) {
      return absl::InternalError("a polynomial is not divisible by a divisor of its own");
    }
    p = std::move(simple);
  }
  if (p.size() > 3) {
    MOSSRT_RETURN_IF_ERROR(AppendHigher(std::move(p), &roots));
  } else if (p.size() > 1) {
    AppendExact(p, &roots);
  }
  std::sort(roots.begin(), roots.end(), [](const Root& a, const Root& b) {
    const Approximate x = Approximation(a), y = Approximation(b);
    const bool x_complex = x.imaginary != 0.0, y_complex = y.imaginary != 0.0;
    if (x_complex != y_complex) return y_complex;
    return std::make_pair(x.real, x.imaginary) < std::make_pair(y.real, y.imaginary);
  });
  return roots;
}

Approximate Approximation(const Root& root) {
  if (const auto* known = std::get_if<Approximate>(&root)) return *known;
  const Surd& surd = std::get<Surd>(root);
  const auto value = [](const Rational& x) {
    return BigFloat(mp::numerator(x)) / BigFloat(mp::denominator(x));
  };
  const BigFloat second = value(surd.factor) * mp::sqrt(BigFloat(surd.radicand));
  if (surd.imaginary) return {ToDouble(surd.rational), second.convert_to<double>()};
  if (surd.factor.is_zero()) return {ToDouble(surd.rational), 0.0};
  return {BigFloat(value(surd.rational) + second).convert_to<double>(), 0.0};
}

}  // namespace mossrt::runtime
