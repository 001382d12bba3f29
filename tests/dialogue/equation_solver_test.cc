// Expected answers are SymPy 1.14's. tests/python/test_solver.py compares many more, made at
// random.
#include "dialogue/equation_solver.h"

#include <chrono>
#include <string>

#include "base/cat.h"
#include "gtest/gtest.h"

namespace mossrt::runtime {
namespace {

std::string Solved(std::string_view equations) {
  const auto solution = SolveEquations(equations);
  return solution.ok() ? *solution : Cat("error: ", Message(solution.status()));
}

void ExpectError(std::string_view equations, absl::StatusCode code, std::string_view words) {
  const auto start = std::chrono::steady_clock::now();
  const auto solution = SolveEquations(equations);
  ASSERT_FALSE(solution.ok()) << equations << " gave " << *solution;
  EXPECT_EQ(solution.status().code(), code) << Message(solution.status());
  EXPECT_NE(Message(solution.status()).find(words), std::string_view::npos)
      << equations << ": " << Message(solution.status());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << equations;
}

TEST(EquationSolver, Linear) {
  EXPECT_EQ(Solved("3x - 160 = 0"), "x = 160/3");
  EXPECT_EQ(Solved("x + y = 10; x - y = 4"), "x = 7\ny = 3");
  EXPECT_EQ(Solved("b = 2a, a + b = 9"), "a = 3\nb = 6");
  EXPECT_EQ(Solved("x+y+z=6\nx-y=0\n-2x=-z"), "x = 3/2\ny = 3/2\nz = 3");
  EXPECT_EQ(Solved("-x^2 + 4 = 0"), "x_0 = -2\nx_1 = 2");
}

TEST(EquationSolver, Polynomials) {
  EXPECT_EQ(Solved("x^2 - 5x + 6 = 0"), "x_0 = 2\nx_1 = 3");
  EXPECT_EQ(Solved("x^2 = x + 1"), "x_0 = 1/2 - sqrt(5)/2\nx_1 = 1/2 + sqrt(5)/2");
  EXPECT_EQ(Solved("x**2 + 1 = 0"), "x_0 = -I\nx_1 = I");
  EXPECT_EQ(Solved("x^2 - 6x + 7"), "x_0 = 3 - sqrt(2)\nx_1 = sqrt(2) + 3");
  EXPECT_EQ(Solved("x^2 + x - 1"), "x_0 = -sqrt(5)/2 - 1/2\nx_1 = -1/2 + sqrt(5)/2");
  EXPECT_EQ(Solved("x^2 + 2x + 5"), "x_0 = -1 - 2*I\nx_1 = -1 + 2*I");
  EXPECT_EQ(Solved("x^2 + x + 1 = 0"), "x_0 = -1/2 - sqrt(3)*I/2\nx_1 = -1/2 + sqrt(3)*I/2");
  EXPECT_EQ(Solved("(x - 1)^2 = 0"), "x = 1");
  EXPECT_EQ(Solved("x^3 = 8"), "x_0 = 2\nx_1 = -1 - sqrt(3)*I\nx_2 = -1 + sqrt(3)*I");
  EXPECT_EQ(Solved("x^4 - 5x^2 + 6 = 0"),
            "x_0 = -sqrt(3)\nx_1 = -sqrt(2)\nx_2 = sqrt(2)\nx_3 = sqrt(3)");
  EXPECT_EQ(Solved("x^3 - x - 1 = 0"),
            "x_0 = 1.32471795724475\nx_1 = -0.662358978622373 - 0.562279512062301*I\n"
            "x_2 = -0.662358978622373 + 0.562279512062301*I");
  EXPECT_EQ(Solved("x^4 - x^3 = 0"), "x_0 = 0\nx_1 = 1");
  EXPECT_EQ(Solved("x^2 = 4; x^3 = 8"), "x = 2");
}

TEST(EquationSolver, DecimalsGiveDecimals) {
  EXPECT_EQ(Solved("0.5x = 3"), "x = 6.00000000000000");
  EXPECT_EQ(Solved("0.1x + y = 1; x - y = 1"), "x = 1.81818181818182\ny = 0.818181818181818");
  EXPECT_EQ(Solved("x^2 = 2.0"), "x_0 = -1.41421356237310\nx_1 = 1.41421356237310");
  EXPECT_EQ(Solved("x^2 + x + 1.0 = 0"),
            "x_0 = -0.5 - 0.866025403784439*I\nx_1 = -0.5 + 0.866025403784439*I");
  EXPECT_EQ(Solved("x = 1.5e20"), "x = 1.50000000000000e+20");
  EXPECT_EQ(Solved("x = 0.00001"), "x = 1.00000000000000e-5");
}

TEST(EquationSolver, AsPeopleType) {
  EXPECT_EQ(Solved("２ｘ＋３＝７"), "x = 2");
  EXPECT_EQ(Solved("x² = 9，"), "x_0 = -3\nx_1 = 3");
  EXPECT_EQ(Solved("2(x + 1)(3) = 12"), "x = 1");
  EXPECT_EQ(Solved("x + 20%x = 60"), "x = 50");
  EXPECT_EQ(Solved("x = 1,200 + 1"), "x = 1201");
  EXPECT_EQ(Solved("单价 * 3 = 12"), "单价 = 4");
  EXPECT_EQ(Solved("price*3 = 12"), "price = 4");
  EXPECT_EQ(Solved("x1 + x_2 = 3; x1 - x_2 = 1"), "x1 = 2\nx_2 = 1");
  EXPECT_EQ(Solved("3x + 5 = 20, x"), "x = 5");
  EXPECT_EQ(Solved("x = y = 3"), "x = 3\ny = 3");
  EXPECT_EQ(Solved("x == √16"), "x = 4");
}

TEST(EquationSolver, Divisions) {
  EXPECT_EQ(Solved("60/x = 3"), "x = 20");
  EXPECT_EQ(Solved("1/x + 1/(x+1) = 3/2"), "x_0 = -2/3\nx_1 = 1");
  EXPECT_EQ(Solved("x/y = 2; x + y = 3"), "x = 2\ny = 1");
  ExpectError("(x^2 - 1)/(x - 1) = 2", absl::StatusCode::kInvalidArgument, "no solution");
  ExpectError("x/y = 2; x + y = 0", absl::StatusCode::kInvalidArgument, "no solution");
  ExpectError("1/0 = x", absl::StatusCode::kInvalidArgument, "divide by zero");
}

TEST(EquationSolver, ErrorsAreSentences) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kBeyond = absl::StatusCode::kUnimplemented;
  ExpectError("", kInvalid, "no equation");
  ExpectError("2 = 2", kInvalid, "no equation");
  ExpectError("x = x", kInvalid, "whatever");
  ExpectError("x = x + 1", kInvalid, "no solution");
  ExpectError("x + y = 1; x + y = 2", kInvalid, "contradict");
  ExpectError("x = 1; x = 2", kInvalid, "no solution");
  ExpectError("x + = 1", kInvalid, "need a number or an unknown after \"+\", found \"=\"");
  ExpectError("x 2 = 1", kInvalid, "need \"=\"");
  ExpectError("x = 1,23", kInvalid, "without an unknown");
  ExpectError("(x = 1", kInvalid, "\")\"");
  ExpectError("x = 1 $", kInvalid, "no meaning");
  ExpectError("x + y = 1", kBeyond, "open");
  ExpectError("x y = 1; x + y = 2", kBeyond, "not linear");
  ExpectError("2^x = 8", kBeyond, "exponent");
  ExpectError("x^(1/2) = 8", kBeyond, "exponent");
  ExpectError("sin(x) = 1", kBeyond, "sin");
  ExpectError("sqrt(x) = 1", kBeyond, "root");
  ExpectError("x = pi", kBeyond, "pi");
}

TEST(EquationSolver, HostileEquationsEndSoon) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kBeyond = absl::StatusCode::kUnimplemented;
  ExpectError("x^9^9^9 = 1", kBeyond, "exponent");
  ExpectError("x^4096 = 1", kBeyond, "degree");
  ExpectError("9^4096^2 x = 1", kBeyond, "exponent");
  ExpectError("((9^4096)^4096) x = 1", kBeyond, "bits");
  ExpectError("x = 1e999999999999", kInvalid, "exponent");
  ExpectError("(a+b+c+d+f+g+h)^50 = 1", kBeyond, "too large");
  ExpectError("(x+1)^40 = x", kBeyond, "degree 30");
  ExpectError(std::string(3000, '(') + "x", kInvalid, "nested");
  ExpectError(std::string(3000, '-') + "x = 1", kInvalid, "nested");
  ExpectError(std::string(5000, 'x'), kInvalid, "bytes");
  std::string roots, many, sums = "x", unknowns;
  for (int i = 0; i < 1000; ++i) roots += "√";
  ExpectError(roots + "4 = x", kInvalid, "roots of roots");
  for (int i = 0; i < 500; ++i) many += Cat("x=", i, ";");
  ExpectError(many, kBeyond, "40 equations");
  for (int i = 0; i < 30; ++i) unknowns += Cat("x", i, "=1;");
  ExpectError(unknowns, kBeyond, "20 unknowns");
  for (int i = 0; i < 300; ++i) sums += Cat("+1/(x+", i, ")");
  ExpectError(sums + "=1", kBeyond, "too large");
  // The hardest polynomials that are taken: no simple factors, long coefficients.
  std::string hard = "x^30";
  for (int i = 0; i < 30; ++i) hard += Cat(" + ", 1000003 * (i * i + 7), "123456789012345 x^", i);
  EXPECT_EQ(Solved(hard).substr(0, 6), "x_0 = ");
}

}  // namespace
}  // namespace mossrt::runtime
