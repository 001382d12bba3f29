#include "base/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/checksum.h"

namespace mossrt::runtime {
namespace {

namespace fs = std::filesystem;

std::span<const std::uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Values published for the algorithm; the last is longer than a stripe of 32 bytes.
TEST(Checksum, PublishedValues) {
  EXPECT_EQ(Checksum::Of({}), 0xEF46DB3751D8E999u);
  EXPECT_EQ(Checksum::Of(Bytes("a")), 0xD24EC4F1A98C6E5Bu);
  EXPECT_EQ(Checksum::Of(Bytes("abc")), 0x44BC2CF5AD770999u);
  EXPECT_EQ(Checksum::Of(Bytes("Nobody inspects the spammish repetition")), 0xFBCEA83C8A378BF1u);
}

TEST(Checksum, PiecesAreTheWhole) {
  std::vector<std::uint8_t> bytes(1000);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(i * 37 + i / 9);
  const std::span<const std::uint8_t> all(bytes);
  Checksum pieces;
  pieces.Add(all.first(32));
  pieces.Add(all.subspan(32, 640));
  EXPECT_EQ(pieces.Finish(all.subspan(672)), Checksum::Of(all));
}

class AtomicFileTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "mossrt-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    folder_ = path;
  }
  void TearDown() override {
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }
  std::string File() const { return folder_ + "/out"; }
  int Count() const {
    return static_cast<int>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  std::string Read() const {
    std::ifstream in(File(), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  absl::Status Put(std::string_view text) const {
    auto file = AtomicFile::Create(File(), text.size(), GetParam());
    if (!file.ok()) return file.status();
    if (absl::Status s = file->Write(0, Bytes(text)); !s.ok()) return s;
    return file->Commit();
  }
  std::string folder_;
};

TEST_P(AtomicFileTest, AppearsWhole) {
  {
    auto file = AtomicFile::Create(File(), 6, GetParam());
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->Write(3, Bytes("def")).ok());
    EXPECT_FALSE(fs::exists(File()));
    ASSERT_TRUE(file->Write(0, Bytes("abc")).ok());
    const absl::Status status = file->Commit();
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(Read(), "abcdef");
  EXPECT_EQ(Count(), 1);
  struct stat info;
  ASSERT_EQ(stat(File().c_str(), &info), 0);
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(info.st_mode & 0777u, 0666u & ~mask);
}

TEST_P(AtomicFileTest, Replaces) {
  ASSERT_TRUE(Put("old").ok());
  const absl::Status status = Put("newer");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Read(), "newer");
  EXPECT_EQ(Count(), 1);
}

TEST_P(AtomicFileTest, WritesWhereALinkLeads) {
  fs::create_directory(folder_ + "/real");
  fs::create_symlink("real/first", File());
  fs::create_symlink("second", folder_ + "/real/first");
  for (const char* text : {"made", "and replaced"}) {  // the links lead to nothing at first
    const absl::Status status = Put(text);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Read(), text);
    EXPECT_EQ(fs::read_symlink(File()), "real/first");
    EXPECT_EQ(fs::read_symlink(folder_ + "/real/first"), "second");
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(folder_ + "/real/second")));
    EXPECT_EQ(Count(), 2);  // "real" and the link: nothing stands beside a file elsewhere
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ + "/real"), {}), 2);
  {
    auto abandoned = AtomicFile::Create(File(), 3, GetParam());
    ASSERT_TRUE(abandoned.ok() && abandoned->Write(0, Bytes("abc")).ok());
  }
  EXPECT_EQ(Read(), "and replaced");
}

TEST_P(AtomicFileTest, LinksThatLeadNowhereAreNamed) {
  const auto error = [&](const char* target) {
    fs::remove(File());
    fs::create_symlink(target, File());
    return AtomicFile::Create(File(), 1, GetParam()).status();
  };
  const absl::Status circle = error("out");
  EXPECT_TRUE(absl::IsInvalidArgument(circle)) << circle;
  EXPECT_NE(circle.message().find("circle"), absl::string_view::npos) << circle;
  const absl::Status missing = error("none/out");
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_NE(missing.message().find("a link to " + folder_ + "/none/out"), absl::string_view::npos)
      << missing;
  EXPECT_TRUE(absl::IsInvalidArgument(error("."))) << error(".");
  EXPECT_TRUE(fs::is_symlink(File()));
}

TEST_P(AtomicFileTest, LinksToNoFileWithANameAreRefused) {
  const auto refused = [&](const std::string& target) {
    fs::remove(File());
    fs::create_symlink(target, File());
    const absl::Status status = AtomicFile::Create(File(), 1, GetParam()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << target << ": " << status;
    EXPECT_NE(status.message().find("no regular file"), absl::string_view::npos) << status;
    EXPECT_EQ(Count(), 1) << target;
  };
  refused(".");
  refused("/dev/null");
  const int gone = ::open(folder_.c_str(), O_TMPFILE | O_RDWR, 0600);
  ASSERT_GE(gone, 0);
  refused("/proc/self/fd/" + std::to_string(gone));
  ::close(gone);
}

TEST(FilesOfOthers, AreNotReplaced) {
  std::string folder = (fs::temp_directory_path() / "mossrt-test-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/file", link = folder + "/link";
  fs::create_symlink("file", link);
  const auto check = [](const std::string& at) { return CheckReplaces(at, "MAGIC", "treasure"); };
  for (const std::string& at : {path, link, folder}) EXPECT_TRUE(check(at).ok()) << at;
  for (const char* text : {"", "MAGI", "notMAGIC"}) {
    std::ofstream(path) << text;
    for (const std::string& at : {path, link}) {
      const absl::Status status = check(at);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << status;
      EXPECT_NE(status.message().find("no treasure, and is not replaced"), absl::string_view::npos);
    }
  }
  std::ofstream(path) << "MAGIC and more";
  for (const std::string& at : {path, link}) EXPECT_TRUE(check(at).ok()) << at;
  fs::remove_all(folder);
}

TEST_P(AtomicFileTest, AbandonedLeavesNothing) {
  {
    auto file = AtomicFile::Create(File(), 3, GetParam());
    ASSERT_TRUE(file.ok() && file->Write(0, Bytes("abc")).ok());
  }
  EXPECT_EQ(Count(), 0);
}

TEST_P(AtomicFileTest, SaysWhatIsWrong) {
  const auto error = [](const std::string& path, std::uint64_t size) {
    return AtomicFile::Create(path, size, GetParam()).status();
  };
  EXPECT_TRUE(absl::IsNotFound(error(folder_ + "/none/out", 1))) << error(folder_ + "/none/out", 1);
  EXPECT_TRUE(absl::IsInvalidArgument(error(folder_, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(error(folder_ + "/", 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(error("", 1)));
  // More than any disk has.
  const absl::Status full = error(File(), std::uint64_t{1} << 50);
  EXPECT_TRUE(absl::IsUnavailable(full)) << full;
  EXPECT_NE(full.message().find("free some space"), absl::string_view::npos) << full;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status limited = error(File(), 1001);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_NE(limited.message().find("ulimit -f"), absl::string_view::npos) << limited;
  EXPECT_EQ(Count(), 0);
  if (geteuid() == 0) return;  // may write everywhere
  fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_TRUE(absl::IsPermissionDenied(error(File(), 1))) << error(File(), 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, AtomicFileTest, ::testing::Values(true, false),
                         [](const auto& info) { return info.param ? "Unnamed" : "Named"; });

}  // namespace
}  // namespace mossrt::runtime
