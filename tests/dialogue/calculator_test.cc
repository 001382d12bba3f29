// Expected values are Python 3.11's repr(eval(...)), with ^ written **.
// tests/python/test_plugins.py compares many more, made at random.
#include "dialogue/calculator.h"

#include <chrono>
#include <string>

#include "base/cat.h"
#include "gtest/gtest.h"

namespace mossrt::runtime {
namespace {

std::string Value(std::string_view expression) {
  const auto value = Calculate(expression);
  return value.ok() ? *value : Cat("error: ", Message(value.status()));
}

void ExpectError(std::string_view expression, std::string_view words) {
  const auto start = std::chrono::steady_clock::now();
  const auto value = Calculate(expression);
  ASSERT_FALSE(value.ok()) << expression << " gave " << *value;
  EXPECT_EQ(value.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Message(value.status()).find(words), std::string_view::npos)
      << expression << ": " << Message(value.status());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << expression;
}

TEST(Calculator, Operators) {
  EXPECT_EQ(Value("0.1 + 0.2"), "0.30000000000000004");
  EXPECT_EQ(Value("100 / 4"), "25.0");
  EXPECT_EQ(Value("2 + 3 * 4"), "14");
  EXPECT_EQ(Value("-2 ** 2"), "-4");
  EXPECT_EQ(Value("2 ^ 3 ^ 2"), "512");
  EXPECT_EQ(Value("2 ** -1"), "0.5");
  EXPECT_EQ(Value("(-2) ** 3.0"), "-8.0");
  EXPECT_EQ(Value("-7 // 2"), "-4");
  EXPECT_EQ(Value("-7 % 3"), "2");
  EXPECT_EQ(Value("7 % -3"), "-2");
  EXPECT_EQ(Value("-7.5 // 2"), "-4.0");
  EXPECT_EQ(Value("5.5 % -2"), "-0.5");
  EXPECT_EQ(Value("-4.0 % 2"), "0.0");
  EXPECT_EQ(Value("2**100"), "1267650600228229401496703205376");
  EXPECT_EQ(Value("10**400 / 10**399"), "10.0");
  EXPECT_EQ(Value("9007199254740993 / 1"), "9007199254740992.0");
  EXPECT_EQ(Value("- -- 3"), "-3");
  EXPECT_EQ(Value("((((1))))"), "1");
}

TEST(Calculator, NumbersAsPythonWritesThem) {
  EXPECT_EQ(Value("1e16"), "1e+16");
  EXPECT_EQ(Value("123456789012345680.0"), "1.2345678901234568e+17");
  EXPECT_EQ(Value("1e15"), "1000000000000000.0");
  EXPECT_EQ(Value("0.0001"), "0.0001");
  EXPECT_EQ(Value("0.00001"), "1e-05");
  EXPECT_EQ(Value("5e-324"), "5e-324");
  EXPECT_EQ(Value("1e-400"), "0.0");
  EXPECT_EQ(Value("-0.0"), "-0.0");
  EXPECT_EQ(Value(".5"), "0.5");
  EXPECT_EQ(Value("5."), "5.0");
  EXPECT_EQ(Value("1_000"), "1000");
  EXPECT_EQ(Value("007"), "7");
}

TEST(Calculator, Functions) {
  EXPECT_EQ(Value("sqrt(2)"), "1.4142135623730951");
  EXPECT_EQ(Value("math.sqrt(16)"), "4.0");
  EXPECT_EQ(Value("log(8, 2)"), "3.0");
  EXPECT_EQ(Value("log(10**400)"), "921.0340371976182");
  EXPECT_EQ(Value("log10(1000)"), "3.0");
  EXPECT_EQ(Value("round(2.5)"), "2");
  EXPECT_EQ(Value("round(2.675, 2)"), "2.67");
  EXPECT_EQ(Value("round(1234.5, -2)"), "1200.0");
  EXPECT_EQ(Value("round(1250, -2)"), "1200");
  EXPECT_EQ(Value("round(-0.4, 0)"), "-0.0");
  EXPECT_EQ(Value("floor(-2.5) + ceil(2.1)"), "0");
  EXPECT_EQ(Value("floor(1e30)"), "1000000000000000019884624838656");
  EXPECT_EQ(Value("pow(2, 10)"), "1024");
  EXPECT_EQ(Value("math.pow(2, 10)"), "1024.0");
  EXPECT_EQ(Value("pow(3, 200, 13)"), "9");
  EXPECT_EQ(Value("pow(2, 3, -5)"), "-2");
  EXPECT_EQ(Value("factorial(20)"), "2432902008176640000");
  EXPECT_EQ(Value("5! + 1"), "121");
  EXPECT_EQ(Value("comb(50, 25)"), "126410606437752");
  EXPECT_EQ(Value("perm(10, 3)"), "720");
  EXPECT_EQ(Value("gcd(12, -18)"), "6");
  EXPECT_EQ(Value("lcm(4, 6)"), "12");
  EXPECT_EQ(Value("lcm(0, 6)"), "0");
  EXPECT_EQ(Value("isqrt(10**40)"), "100000000000000000000");
  EXPECT_EQ(Value("max(1, 2.0, 2)"), "2.0");
  EXPECT_EQ(Value("min([3, 1, 2])"), "1");
  EXPECT_EQ(Value("sum([0.1, 0.2, 0.3])"), "0.6000000000000001");
  EXPECT_EQ(Value("max(9007199254740993, 9007199254740992.0)"), "9007199254740993");
  EXPECT_EQ(Value("hypot(3, 4)"), "5.0");
  EXPECT_EQ(Value("2 * pi"), "6.283185307179586");
  EXPECT_EQ(Value("SIN(0)"), "0.0");
}

TEST(Calculator, AsPeopleType) {
  EXPECT_EQ(Value("３×４÷２"), "6.0");
  EXPECT_EQ(Value("（１＋２）－３"), "0");
  EXPECT_EQ(Value("5 − 3"), "2");
  EXPECT_EQ(Value("3² + 4²"), "25");
  EXPECT_EQ(Value("2⁻¹"), "0.5");
  EXPECT_EQ(Value("2²³"), "8388608");
  EXPECT_EQ(Value("√16 + √(9)"), "7.0");
  EXPECT_EQ(Value("2π"),
            "error: the expression \"2 pi \" needs an operator such as + or * after "
            "\"2\", found \"pi\"");
  EXPECT_EQ(Value("1,234,567 + 1"), "1234568");
  EXPECT_EQ(Value("max(1,234)"), "234");
  EXPECT_EQ(Value("max((1,234), 5)"), "1234");
  EXPECT_EQ(Value("1，000.5 * 2"), "2001.0");
  EXPECT_EQ(Value("[1 + {2 * 3}] * 2"), "14");
  EXPECT_EQ(Value("1 + 1 ="), "2");
}

TEST(Calculator, ErrorsAreSentences) {
  ExpectError("", "needs a number");
  ExpectError("1 +", "needs a number after \"+\", found the end");
  ExpectError("(1", "\")\"");
  ExpectError("(1]", "\")\"");
  ExpectError("1 2", "an operator");
  ExpectError("2(3)", "an operator");
  ExpectError("1,23", "an operator");
  ExpectError("1 = 1", "an operator");
  ExpectError("x + 1", "neither a function nor a constant");
  ExpectError("nan", "neither a function nor a constant");
  ExpectError("inf - inf", "neither a function nor a constant");
  ExpectError("sqrt(-1)", "not a real number");
  ExpectError("log(0)", "positive");
  ExpectError("(-8) ** 0.5", "not a real number");
  ExpectError("0 ** -1", "negative power");
  ExpectError("1 / 0", "division by zero");
  ExpectError("1 % 0.0", "division by zero");
  ExpectError("1e308 * 10", "too large");
  ExpectError("1e999", "too large");
  ExpectError("0.1e500", "too large");
  ExpectError("10**400 + 0.5", "too large");
  ExpectError("50%", "/100");
  ExpectError("sin(1, 2)", "takes 1 numbers, found 2");
  ExpectError("round()", "needs a number");
  ExpectError("factorial(2.0)", "whole numbers");
  ExpectError("factorial(-1)", "not negative");
  ExpectError("1 $ 2", "no meaning");
  ExpectError("1 ☺ 2", "U+263A");
  ExpectError(std::string_view("1\0002", 3), "U+0000");
  ExpectError("1 \xFF", "UTF-8");
  ExpectError("__import__('os')", "no meaning");
}

TEST(Calculator, HostileExpressionsEndSoon) {
  ExpectError("9**9**9", "bits");
  ExpectError("9**9**9**9**9", "bits");
  ExpectError("2**65537", "bits");
  ExpectError("(10**4000)**100", "bits");
  ExpectError("factorial(10**9)", "bits");
  ExpectError("comb(10**9, 10**8)", "bits");
  ExpectError("perm(10**18, 10**17)", "bits");
  ExpectError("10**4300", "digits");
  EXPECT_EQ(Value("10**4299").size(), 4300u);
  ExpectError(std::string(5000, '1'), "bytes");
  ExpectError(std::string(2000, '(') + "1" + std::string(2000, ')'), "nested");
  ExpectError(std::string(4000, '-') + "1", "nested");
  ExpectError(Cat("1", std::string(3000, '*')), "needs a number");
  std::string tower = "1", roots, products = "3**41000";
  for (int i = 0; i < 800; ++i) tower += "**1";
  ExpectError(tower, "nested");
  for (int i = 0; i < 700; ++i) roots += "√";
  ExpectError(roots, "nested");
  for (int i = 0; i < 400; ++i) products += "*3**41%7";
  EXPECT_NE(Value(products), "");
  std::string modular = "0";
  for (int i = 0; i < 60; ++i) modular += "+pow(3, 2**60000, 2**60000 + 1)";
  ExpectError(modular, "too long");
  std::string divisors = "gcd(1";
  for (int i = 0; i < 100; ++i) divisors += ",3**41000,2**65000";
  EXPECT_NE(Value(divisors + ")"), "");
}

}  // namespace
}  // namespace mossrt::runtime
