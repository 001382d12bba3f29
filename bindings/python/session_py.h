// A session as Python holds it.
#pragma once

#include "arrays.h"

namespace mossrt::python {

// Memory that views show may move with the next call that changes the session: while views live,
// such calls are refused, as bytearray refuses to be resized. Counted under the GIL.
struct Views {
  int alive = 0;
  void RefuseIfAlive(const char* call) const {
    if (alive == 0) return;
    throw py::buffer_error(std::string(call) + ": " + std::to_string(alive) +
                           " view(s) of this session's memory (copy=False) are alive and would "
                           "dangle; delete them first, or take copies");
  }
};

class PySession {
 public:
  explicit PySession(Session session) : session_(std::make_shared<Session>(std::move(session))) {}
  // A call holds the session for its length, so that close() on another thread frees nothing early.
  std::shared_ptr<Session> Get() const {
    if (session_) return session_;
    throw py::value_error("the session is closed");
  }
  std::shared_ptr<Session> GetToChange(const char* call) const {
    views_->RefuseIfAlive(call);
    return Get();
  }
  const std::shared_ptr<Views>& views() const { return views_; }
  bool closed() const { return session_ == nullptr; }
  void Close() { session_.reset(); }
  // read: the matrix, from the session.
  template <typename F>
  py::array Read(bool copy, F read) const {
    const std::shared_ptr<Session> session = Get();
    const ConstMatrix matrix = read(*session);
    if (copy) return ToArray(matrix);
    struct Owner {
      std::shared_ptr<Session> session;
      std::shared_ptr<Views> views;
    };
    auto owner = std::make_unique<Owner>(Owner{session, views_});
    const py::capsule capsule(owner.get(), [](void* p) {
      const std::unique_ptr<Owner> held(static_cast<Owner*>(p));
      --held->views->alive;
    });
    ++owner.release()->views->alive;
    return ViewOf(matrix, capsule);
  }

 private:
  std::shared_ptr<Session> session_;
  std::shared_ptr<Views> views_ = std::make_shared<Views>();
};

}  // namespace mossrt::python
