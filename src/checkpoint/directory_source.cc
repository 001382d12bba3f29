#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "checkpoint/bytes.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {
namespace {

// Below the usual limit of 1024 descriptors a process; files beyond are opened for each read.
constexpr std::size_t kMaxOpenFiles = 128;

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

int OpenRetrying(int directory, const char* name, int flags) {
  int fd = -1;
  do {
    fd = openat(directory, name, flags | O_RDONLY | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

absl::Status SystemError(int error, std::string_view path, std::string_view doing) {
  const std::string text =
      Cat(path, ": cannot ", doing, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

std::string_view KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

class DirectorySource final : public ByteSource {
 public:
  DirectorySource(std::string path, Descriptor directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}

  std::string name() const override { return path_; }

  absl::StatusOr<std::vector<std::string>> List() const override {
    const int fd = OpenRetrying(directory_.get(), ".", O_DIRECTORY);
    DIR* stream = fd < 0 ? nullptr : fdopendir(fd);
    if (stream == nullptr) {
      const int error = errno;
      if (fd >= 0) close(fd);
      return SystemError(error, path_, "list the directory");
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(stream)) {
      struct stat info {};
      // Links are followed; one that leads nowhere is listed, so that reading it says so.
      const bool folder =
          fstatat(directory_.get(), entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
      if (!folder) names.emplace_back(entry->d_name);
      errno = 0;
    }
    const int error = errno;
    closedir(stream);
    if (error != 0) return SystemError(error, path_, "list the directory");
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<std::uint64_t> Size(std::string_view file) const override {
    std::uint64_t size = 0;
    MOSSRT_RETURN_IF_ERROR(WithFile(file, [&](int fd) -> absl::Status {
      struct stat info {};
      if (fstat(fd, &info) != 0) return SystemError(errno, PathOf(file), "ask for the size");
      size = static_cast<std::uint64_t>(info.st_size);
      return absl::OkStatus();
    }));
    return size;
  }

  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    if (offset > static_cast<std::uint64_t>(INT64_MAX) - out.size()) {
      return absl::DataLossError(
          Cat(PathOf(file), ": offset ", offset, " lies beyond the end of any file"));
    }
    return WithFile(file, [&](int fd) -> absl::Status {
      std::size_t done = 0;
      while (done < out.size()) {
        const ssize_t n =
            pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (n < 0) {
          if (errno == EINTR) continue;
          return SystemError(errno, PathOf(file), Cat("read at offset ", offset + done));
        }
        if (n == 0) {
          return absl::DataLossError(Cat(PathOf(file), ": expected ", out.size(),
                                         " bytes from offset ", offset, ", but the file ends at ",
                                         offset + done,
                                         "; it is truncated or was changed while in use"));
        }
        done += static_cast<std::size_t>(n);
      }
      return absl::OkStatus();
    });
  }

 private:
  std::string PathOf(std::string_view file) const { return Cat(path_, "/", file); }

  absl::StatusOr<Descriptor> Open(std::string_view file) const {
    const std::string name(file);
    if (file.empty() || file == "." || file == ".." ||
        file.find_first_of(std::string_view("/\0", 2)) != std::string_view::npos) {
      return absl::InvalidArgumentError(
          Cat(path_, ": ", Quoted(file), " is not a plain file name; folders are not entered"));
    }
    // O_NONBLOCK: opening a FIFO that nobody writes to must not wait for a writer.
    Descriptor fd(OpenRetrying(directory_.get(), name.c_str(), O_NONBLOCK | O_NOCTTY));
    if (fd.get() < 0) {
      const int error = errno;
      struct stat link {};
      if (error == ENOENT &&
          fstatat(directory_.get(), name.c_str(), &link, AT_SYMLINK_NOFOLLOW) == 0) {
        return absl::NotFoundError(Cat(PathOf(file),
                                       ": the symbolic link leads to a file that does not exist; "
                                       "download the checkpoint again"));
      }
      return SystemError(error, PathOf(file), "open the file");
    }
    struct stat info {};
    if (fstat(fd.get(), &info) != 0) return SystemError(errno, PathOf(file), "ask for the kind");
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(
          Cat(PathOf(file), ": is ", KindOf(info.st_mode), "; expected a regular file"));
    }
    return fd;
  }

  // Kept descriptors are closed by the destructor only, so a reader needs no lock while it reads.
  template <typename Use>
  absl::Status WithFile(std::string_view file, Use use) const {
    int kept = -1;
    {
      const std::lock_guard lock(mutex_);
      const auto it = open_files_.find(file);
      if (it != open_files_.end()) kept = it->second.get();
    }
    if (kept >= 0) return use(kept);
    MOSSRT_ASSIGN_OR_RETURN(Descriptor fd, Open(file));
    {
      const std::lock_guard lock(mutex_);
      const auto it = open_files_.find(file);
      if (it != open_files_.end()) {
        kept = it->second.get();
      } else if (open_files_.size() < kMaxOpenFiles) {
        kept = fd.get();
        open_files_.emplace(std::string(file), std::move(fd));
      }
    }
    return use(kept >= 0 ? kept : fd.get());
  }

  std::string path_;
  Descriptor directory_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Descriptor, std::less<>> open_files_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenDirectory(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        Cat("the path of a checkpoint directory must be a plain path, found ", Quoted(path)));
  }
  Descriptor directory(OpenRetrying(AT_FDCWD, path.c_str(), O_DIRECTORY));
  if (directory.get() < 0) {
    const int error = errno;
    struct stat info {};
    if (error == ENOTDIR && stat(path.c_str(), &info) == 0) {
      return absl::InvalidArgumentError(
          Cat(path, ": is a file; expected the directory that holds config.json and the weights"));
    }
    return SystemError(error, path, "open the directory");
  }
  return std::make_unique<DirectorySource>(path, std::move(directory));
}

}  // namespace mossrt::runtime
