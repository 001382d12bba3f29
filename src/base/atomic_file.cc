#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

constexpr std::size_t kMaxWrite = std::size_t{1} << 30;  // Linux moves at most 0x7ffff000 at once

template <typename Call>
int Retry(Call call) {
  int result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

std::string FolderOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// The path that a path's last link leads to, whether there is a file or not.
absl::StatusOr<std::string> BehindLinks(const std::string& path) {
  constexpr int kMostLinks = 40;  // as Linux follows
  std::string at = path;
  for (int links = 0; links <= kMostLinks; ++links) {
    std::error_code no_link;
    const std::string target = std::filesystem::read_symlink(at, no_link).string();
    if (no_link) return at;
    at = target.starts_with('/') ? target : Cat(FolderOf(at), "/", target);
  }
  return absl::InvalidArgumentError(
      Cat(path, ": leads through more than ", kMostLinks,
          " symbolic links, perhaps in a circle; give the path of the file itself"));
}

std::string ProcPath(int fd) { return Cat("/proc/self/fd/", fd); }

}  // namespace

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    Abandon();
    path_ = std::move(other.path_);
    name_ = std::move(other.name_);
    temporary_ = std::exchange(other.temporary_, {});
    directory_ = std::exchange(other.directory_, -1);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void AtomicFile::Abandon() {
  if (!temporary_.empty()) ::unlinkat(directory_, temporary_.c_str(), 0);
  temporary_.clear();
  if (fd_ >= 0) ::close(fd_);
  if (directory_ >= 0) ::close(directory_);
  fd_ = directory_ = -1;
}

absl::Status AtomicFile::Fail(const char* action, int error) const {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  const char* cure = "";
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    cure = "; free some space or choose another place";
  } else if (error == EACCES || error == EPERM || error == EROFS) {
    code = absl::StatusCode::kPermissionDenied;
    cure = "; choose a folder that this user may write to";
  } else if (error == ENOENT || error == ENOTDIR) {
    code = absl::StatusCode::kNotFound;
    cure = "; make its folder first";
  } else if (error == ENAMETOOLONG) {
    code = absl::StatusCode::kInvalidArgument;
    cure = "; choose a shorter name";
  }
  return absl::Status(
      code, Cat(path_, ": cannot ", action, ": ", std::generic_category().message(error), cure));
}

absl::Status AtomicFile::Irregular() const {
  return absl::InvalidArgumentError(
      Cat(path_, ": is there and no regular file; choose another name"));
}

std::string AtomicFile::TemporaryName() const {
  static std::atomic<unsigned> counter{0};
  return Cat(".", name_.substr(0, 200), ".", ::getpid(), "-", counter++, ".tmp");
}

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path, std::uint64_t size,
                                              bool unnamed) {
  AtomicFile file;
  file.path_ = path;
  // The system may forbid to follow links that others have planted; reading them is not forbidden.
  struct stat there;
  const bool found = ::stat(path.c_str(), &there) == 0;
  if (!found && errno == EACCES) return file.Fail("look it up", errno);
  if (found && !S_ISREG(there.st_mode)) return file.Irregular();
  MOSSRT_ASSIGN_OR_RETURN(const std::string real, BehindLinks(path));
  if (real != path) file.path_ = Cat(path, " (a link to ", real, ")");
  file.name_ = real.substr(real.rfind('/') + 1);  // npos + 1 is 0
  const std::string folder = FolderOf(real);
  if (file.name_.empty() || file.name_ == "." || file.name_ == "..") {
    return absl::InvalidArgumentError(Cat("\"", path, "\" names no file that could be written"));
  }
  file.directory_ =
      Retry([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (file.directory_ < 0) return file.Fail("open its folder", errno);
  // Only what was looked at is replaced, and no link that came in between.
  struct stat now;
  const bool still = ::fstatat(file.directory_, file.name_.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0;
  if (found != still || (found && (now.st_dev != there.st_dev || now.st_ino != there.st_ino))) {
    return absl::InvalidArgumentError(
        Cat(file.path_,
            ": is no regular file with a name, or somebody else has just changed it; "
            "choose another name or try again"));
  }
  // Beyond this limit a write would end the process by a signal.
  rlimit limit;
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      size > limit.rlim_cur) {
    return absl::UnavailableError(
        Cat(file.path_, ": needs ", size, " bytes, but files of this process ", "may have ",
            std::uint64_t{limit.rlim_cur}, "; raise the limit (ulimit -f)"));
  }
  if (unnamed) {
    file.fd_ =
        Retry([&] { return ::openat(file.directory_, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666); });
    // Without /proc it could not be given a name later.
    if (file.fd_ >= 0 && ::access(ProcPath(file.fd_).c_str(), F_OK) != 0) {
      ::close(std::exchange(file.fd_, -1));
    }
  }
  if (file.fd_ < 0) {
    const std::string temporary = file.TemporaryName();
    file.fd_ = Retry([&] {
      return ::openat(file.directory_, temporary.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
                      0666);
    });
    if (file.fd_ < 0) return file.Fail("create a file beside it", errno);
    file.temporary_ = temporary;
  }
  // Not every file system can promise room beforehand; then writing will tell.
  if (Retry([&] { return ::fallocate(file.fd_, 0, 0, static_cast<off_t>(size)); }) != 0 &&
      errno != EOPNOTSUPP && errno != ENOSYS) {
    return file.Fail(Cat("reserve ", size, " bytes").c_str(), errno);
  }
  if (Retry([&] { return ::ftruncate(file.fd_, static_cast<off_t>(size)); }) != 0) {
    return file.Fail("set its size", errno);
  }
  return file;
}

absl::Status AtomicFile::Write(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n =
        ::pwrite(fd_, bytes.data(), std::min(bytes.size(), kMaxWrite), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Fail("write", n < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  if (Retry([&] { return ::fsync(fd_); }) != 0) return Fail("write to the disk", errno);
  if (temporary_.empty()) {
    const std::string self = ProcPath(fd_);
    const auto link = [&](const std::string& name) {
      return ::linkat(AT_FDCWD, self.c_str(), directory_, name.c_str(), AT_SYMLINK_FOLLOW);
    };
    if (link(name_) == 0) {
      ::fsync(directory_);
      Abandon();
      return absl::OkStatus();
    }
    if (errno != EEXIST) return Fail("give the file its name", errno);
    const std::string temporary = TemporaryName();
    if (link(temporary) != 0) return Fail("give the file its name", errno);
    temporary_ = temporary;
  }
  if (::renameat(directory_, temporary_.c_str(), directory_, name_.c_str()) != 0) {
    return Fail("give the file its name", errno);
  }
  temporary_.clear();
  // The file is there; should the directory not reach the disk, it is the old one that is.
  ::fsync(directory_);
  Abandon();
  return absl::OkStatus();
}

bool FileBeginsWith(const std::string& path, std::string_view magic) {
  std::string start(magic.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  return file && start == magic;
}

absl::Status CheckReplaces(const std::string& path, std::string_view magic, std::string_view kind) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) || FileBeginsWith(path, magic)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      Cat(path, ": is there and no ", kind, ", and is not replaced; choose another name"));
}

}  // namespace mossrt::runtime
