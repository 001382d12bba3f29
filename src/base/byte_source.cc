#include "mossrt/runtime/byte_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "base/status.h"

namespace mossrt::runtime {
namespace {

// Enough for the shards of any published checkpoint, far below the usual limit of 1024 descriptors.
constexpr std::size_t kMaxOpenFiles = 64;
// Linux moves at most 0x7ffff000 bytes per call.
constexpr std::size_t kMaxRead = std::size_t{1} << 30;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status SystemError(int error, std::string_view action, std::string_view path) {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  if (error == ENOENT) code = absl::StatusCode::kNotFound;
  if (error == EACCES || error == EPERM) code = absl::StatusCode::kPermissionDenied;
  if (error == ENOMEM || error == EMFILE || error == ENFILE) {
    code = absl::StatusCode::kResourceExhausted;
  }
  if (error == ENOTDIR || error == ENAMETOOLONG) code = absl::StatusCode::kInvalidArgument;
  return absl::Status(code,
                      Cat(path, ": cannot ", action, ": ", std::generic_category().message(error)));
}

absl::Status CheckName(std::string_view directory, std::string_view file) {
  if (!file.empty() && file != "." && file != ".." && file.find('/') == std::string_view::npos &&
      file.find('\0') == std::string_view::npos) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      Cat(directory, ": \"", file,
          "\" is no plain file name; files are read from this directory alone, so write the name "
          "without '/' or '..'"));
}

absl::Status CheckRange(std::string_view path, std::uint64_t size, std::uint64_t offset,
                        std::uint64_t count) {
  if (offset <= size && count <= size - offset) return absl::OkStatus();
  return absl::DataLossError(Cat(path, ": ", count, " bytes are wanted at offset ", offset,
                                 ", but the file has ", size,
                                 " bytes; it is cut short or its "
                                 "header is wrong, so fetch it again"));
}

class DirectorySource final : public ByteSource {
 public:
  DirectorySource(std::string path, std::shared_ptr<Descriptor> directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}

  std::string name() const override { return path_; }

  absl::StatusOr<std::vector<std::string>> List() const override {
    // A descriptor of its own, because readdir moves the offset that duplicates share.
    const int fd = ::openat(directory_->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return SystemError(errno, "list the directory", path_);
    DIR* stream = ::fdopendir(fd);
    if (stream == nullptr) {
      const int error = errno;
      ::close(fd);
      return SystemError(error, "list the directory", path_);
    }
    std::vector<std::string> names;
    int error = 0;
    while (true) {
      errno = 0;
      const dirent* entry = ::readdir(stream);
      if (entry == nullptr) {
        error = errno;
        break;
      }
      struct stat info;
      // A link that leads nowhere is listed too, so that opening it can say what is wrong.
      if (::fstatat(directory_->get(), entry->d_name, &info, 0) != 0 || S_ISREG(info.st_mode)) {
        names.emplace_back(entry->d_name);
      }
    }
    ::closedir(stream);
    if (error != 0) return SystemError(error, "list the directory", path_);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<std::uint64_t> Size(std::string_view file) const override {
    MOSSRT_ASSIGN_OR_RETURN(const std::shared_ptr<Descriptor> fd, Open(file));
    return SizeOf(*fd, file);
  }

  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    MOSSRT_ASSIGN_OR_RETURN(const std::shared_ptr<Descriptor> fd, Open(file));
    MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, SizeOf(*fd, file));
    MOSSRT_RETURN_IF_ERROR(CheckRange(PathOf(file), size, offset, out.size()));
    while (!out.empty()) {
      const ssize_t n = ::pread(fd->get(), out.data(), std::min(out.size(), kMaxRead),
                                static_cast<off_t>(offset));
      if (n < 0) {
        if (errno == EINTR) continue;
        return SystemError(errno, Cat("read at offset ", offset), PathOf(file));
      }
      if (n == 0) {  // cut short since its size was taken
        return CheckRange(PathOf(file), offset, offset, out.size());
      }
      out = out.subspan(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<const std::byte>> Map(std::string_view file, std::uint64_t offset,
                                                       std::uint64_t size) const override {
    MOSSRT_ASSIGN_OR_RETURN(const std::shared_ptr<Descriptor> fd, Open(file));
    MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t whole, SizeOf(*fd, file));
    MOSSRT_RETURN_IF_ERROR(CheckRange(PathOf(file), whole, offset, size));
    const auto length = static_cast<std::size_t>(size);
    void* base =
        ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd->get(), static_cast<off_t>(offset));
    if (base == MAP_FAILED) return SystemError(errno, "map", PathOf(file));
    return std::shared_ptr<const std::byte>(
        static_cast<const std::byte*>(base),
        [base, length](const std::byte*) { ::munmap(base, length); });
  }

 private:
  std::string PathOf(std::string_view file) const { return Cat(path_, "/", file); }

  absl::StatusOr<std::uint64_t> SizeOf(const Descriptor& fd, std::string_view file) const {
    struct stat info;
    if (::fstat(fd.get(), &info) != 0) return SystemError(errno, "stat", PathOf(file));
    return static_cast<std::uint64_t>(info.st_size);
  }

  absl::StatusOr<std::shared_ptr<Descriptor>> Open(std::string_view file) const {
    MOSSRT_RETURN_IF_ERROR(CheckName(path_, file));
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const auto it = open_.find(file); it != open_.end()) return it->second;
    const std::string name(file);
    int raw = -1;
    do {  // O_NONBLOCK: a FIFO would hang here before it could be refused
      raw = ::openat(directory_->get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (raw < 0 && errno == EINTR);
    if (raw < 0) {
      const int error = errno;
      struct stat link;
      if (error == ENOENT &&
          ::fstatat(directory_->get(), name.c_str(), &link, AT_SYMLINK_NOFOLLOW) == 0) {
        return absl::NotFoundError(Cat(PathOf(file),
                                       ": the symbolic link leads to a file that does not exist; "
                                       "fetch the checkpoint again"));
      }
      return SystemError(error, "open", PathOf(file));
    }
    auto fd = std::make_shared<Descriptor>(raw);
    struct stat info;
    if (::fstat(raw, &info) != 0) return SystemError(errno, "stat", PathOf(file));
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(
          Cat(PathOf(file), ": expected a regular file, found ",
              S_ISDIR(info.st_mode) ? "a directory" : "a device, pipe or socket"));
    }
    if (open_.size() < kMaxOpenFiles) open_.emplace(name, fd);
    return fd;
  }

  std::string path_;
  std::shared_ptr<Descriptor> directory_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<Descriptor>, std::less<>> open_;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::string name, std::map<std::string, std::string> files)
      : name_(std::move(name)), files_(files.begin(), files.end()) {}

  std::string name() const override { return name_; }

  absl::StatusOr<std::vector<std::string>> List() const override {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files_) names.push_back(name);
    return names;
  }

  absl::StatusOr<std::uint64_t> Size(std::string_view file) const override {
    MOSSRT_ASSIGN_OR_RETURN(const std::string* bytes, Find(file));
    return bytes->size();
  }

  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    MOSSRT_ASSIGN_OR_RETURN(const std::string* bytes, Find(file));
    MOSSRT_RETURN_IF_ERROR(CheckRange(Cat(name_, "/", file), bytes->size(), offset, out.size()));
    if (!out.empty()) std::memcpy(out.data(), bytes->data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<const std::string*> Find(std::string_view file) const {
    MOSSRT_RETURN_IF_ERROR(CheckName(name_, file));
    const auto it = files_.find(file);
    if (it == files_.end()) {
      return absl::NotFoundError(Cat(name_, "/", file, ": no such file"));
    }
    return &it->second;
  }

  std::string name_;
  std::map<std::string, std::string, std::less<>> files_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const std::byte>> ByteSource::Map(std::string_view file,
                                                                 std::uint64_t,
                                                                 std::uint64_t) const {
  return absl::UnimplementedError(Cat(name(), "/", file,
                                      ": is no file of the system and cannot be mapped; load it "
                                      "without mmap"));
}

absl::StatusOr<std::unique_ptr<ByteSource>> OpenDirectory(const std::string& path) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    const int error = errno;
    struct stat info;
    if (error == ENOTDIR && ::stat(path.c_str(), &info) == 0) {
      return absl::InvalidArgumentError(
          Cat(path, ": is a file; give the directory that holds config.json and the weights"));
    }
    return SystemError(error, "open as a directory", path.empty() ? "\"\"" : path);
  }
  return std::make_unique<DirectorySource>(path, std::make_shared<Descriptor>(fd));
}

std::unique_ptr<ByteSource> OpenMemory(std::string name, std::map<std::string, std::string> files) {
  return std::make_unique<MemorySource>(std::move(name), std::move(files));
}

absl::StatusOr<std::string> ReadAll(const ByteSource& source, std::string_view file,
                                    std::uint64_t limit) {
  MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, source.Size(file));
  if (size > limit) {
    return absl::InvalidArgumentError(Cat(source.name(), "/", file, ": has ", size,
                                          " bytes, more than the ", limit,
                                          " that such a file may have"));
  }
  std::string bytes;
  try {
    bytes.resize(static_cast<std::size_t>(size));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        Cat(source.name(), "/", file, ": no memory for its ", size, " bytes"));
  }
  MOSSRT_RETURN_IF_ERROR(
      source.Read(file, 0, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}));
  return bytes;
}

}  // namespace mossrt::runtime
