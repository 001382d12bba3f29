#include "chat/python_repr.h"

#include <utf8proc.h>

#include "base/utf8.h"

namespace mossrt::runtime {
namespace {

// str.isprintable() for one code point.
bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

void AppendEscape(char32_t c, std::string* out) {
  const char kind = c < 0x100 ? 'x' : c < 0x10000 ? 'u' : 'U';
  const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
  out->push_back('\\');
  out->push_back(kind);
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out->push_back("0123456789abcdef"[c >> shift & 15]);
  }
}

}  // namespace

std::string PythonRepr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    const DecodedCodePoint decoded = DecodeUtf8(text);
    const std::string_view bytes = text.substr(0, static_cast<std::size_t>(decoded.bytes));
    const char32_t c = decoded.valid ? decoded.code_point : U'\uFFFD';
    if (c == U'\\' || c == static_cast<char32_t>(quote)) {
      out.push_back('\\');
      out.append(bytes);
    } else if (c == U'\n') {
      out += "\\n";
    } else if (c == U'\r') {
      out += "\\r";
    } else if (c == U'\t') {
      out += "\\t";
    } else if (IsPrintable(c)) {
      AppendUtf8(c, &out);
    } else {
      AppendEscape(c, &out);
    }
    text.remove_prefix(bytes.size());
  }
  out.push_back(quote);
  return out;
}

}  // namespace mossrt::runtime
