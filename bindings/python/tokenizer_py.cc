#include "arrays.h"

namespace mossrt::python {
namespace {

constexpr std::size_t kQuick = 1 << 16;  // bytes or ids that take a few milliseconds at most

using SharedTokenizer = std::shared_ptr<Tokenizer>;

py::array Encode(const SharedTokenizer& tokenizer, const py::object& text, bool add_special_tokens,
                 bool parse_special, bool replace_invalid) {
  const EncodeOptions options = {add_special_tokens, parse_special, replace_invalid};
  const std::string_view utf8 = PyBytes_Check(text.ptr())
                                    ? std::string_view(py::reinterpret_borrow<py::bytes>(text))
                                    : Utf8(py::cast<py::str>(text));
  if (utf8.size() > kQuick) {
    return ToArray(Interruptible([tokenizer, held = std::string(utf8), options] {
      return tokenizer->Encode(held, options);
    }));
  }
  std::vector<std::int32_t> ids;
  {
    const py::gil_scoped_release release;
    ids = tokenizer->Encode(utf8, options);
  }
  return ToArray(ids);
}

std::string DecodeIds(const SharedTokenizer& tokenizer, const py::object& object, bool skip_special,
                      bool raw) {
  std::vector<std::int32_t> ids = IdsFrom(object, "ids");
  const bool quick = ids.size() <= kQuick;
  const auto decode = [tokenizer, ids = std::move(ids), skip_special, raw] {
    return raw ? tokenizer->DecodeBytes(ids, skip_special) : tokenizer->Decode(ids, skip_special);
  };
  if (!quick) return Interruptible(decode);
  const py::gil_scoped_release release;
  return decode();
}

py::str Text(std::string_view text) { return py::str(text.data(), text.size()); }

}  // namespace

void BindTokenizer(py::module_& module) {
  py::class_<Detokenizer>(module, "Detokenizer")
      .def(
          "push",
          [](Detokenizer& d, const py::object& ids) {
            if (PyIndex_Check(ids.ptr()) && !py::isinstance<py::array>(ids)) {
              return Text(d.Push(IdsFrom(py::make_tuple(ids), "id")));
            }
            return Text(d.Push(IdsFrom(ids, "ids")));
          },
          py::arg("ids"))
      .def("flush", [](Detokenizer& d) { return Text(d.Flush()); });

  py::class_<Tokenizer, SharedTokenizer>(module, "Tokenizer")
      .def_static(
          "load",
          [](const py::bytes& path, const std::string& options_json) {
            const TokenizerOptions options = {.more_json = options_json};
            return Interruptible([path = std::string(path), options] {
              return std::make_shared<Tokenizer>(Tokenizer::Load(path, options));
            });
          },
          py::arg("path"), py::arg("options_json"))
      .def("size", &Tokenizer::size)
      .def("kind", [](const Tokenizer& t) { return Text(t.kind()); })
      .def("encode", &Encode, py::arg("text"), py::arg("add_special_tokens"),
           py::arg("parse_special"), py::arg("replace_invalid"))
      .def(
          "decode",
          [](const SharedTokenizer& t, const py::object& ids, bool skip_special_tokens) {
            return Text(DecodeIds(t, ids, skip_special_tokens, false));
          },
          py::arg("ids"), py::arg("skip_special_tokens"))
      .def(
          "decode_bytes",
          [](const SharedTokenizer& t, const py::object& ids, bool skip_special_tokens) {
            return py::bytes(DecodeIds(t, ids, skip_special_tokens, true));
          },
          py::arg("ids"), py::arg("skip_special_tokens"))
      .def(
          "token_bytes",
          [](const Tokenizer& t, const py::object& id) {
            return py::bytes(std::string(t.TokenBytes(IdsFrom(py::make_tuple(id), "id")[0])));
          },
          py::arg("id"))
      .def(
          "token_id", [](const Tokenizer& t, const py::str& name) { return t.TokenId(Utf8(name)); },
          py::arg("name"))
      .def(
          "special_ids",
          [](const Tokenizer& t, const std::string& role) {
            py::list ids;
            for (const std::int32_t id : t.SpecialIds(role)) ids.append(id);
            return ids;
          },
          py::arg("role"))
      .def(
          "decoder",
          [](const Tokenizer& t, bool skip_special_tokens) {
            return t.Decoder(skip_special_tokens);
          },
          py::arg("skip_special_tokens"));
}

}  // namespace mossrt::python
