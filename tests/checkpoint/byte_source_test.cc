#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "checkpoint/checkpoint_testing.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

std::span<std::uint8_t> Span(std::string* text) {
  return {reinterpret_cast<std::uint8_t*>(text->data()), text->size()};
}

TEST(DirectorySource, ListsAndReads) {
  const TempDir dir;
  dir.Write("b.bin", "0123456789");
  dir.Write("a.txt", "");
  std::filesystem::create_directory(dir.File("folder"));
  auto source = OpenDirectory(dir.path());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->name(), dir.path());
  EXPECT_EQ(*(*source)->List(), (std::vector<std::string>{"a.txt", "b.bin"}));
  EXPECT_EQ(*(*source)->Size("b.bin"), 10u);
  EXPECT_EQ(*ReadAll(**source, "b.bin", 10), "0123456789");
  EXPECT_EQ(*ReadAll(**source, "a.txt", 10), "");
  std::string part(3, ' ');
  ASSERT_TRUE((*source)->Read("b.bin", 4, Span(&part)).ok());
  EXPECT_EQ(part, "456");
}

TEST(DirectorySource, FollowsLinks) {
  const TempDir blobs;
  const TempDir dir;
  blobs.Write("sha", "content");
  std::filesystem::create_symlink(blobs.File("sha"), dir.File("model.bin"));
  std::filesystem::create_symlink(blobs.File("gone"), dir.File("dangling.bin"));
  auto source = OpenDirectory(dir.path());
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(*ReadAll(**source, "model.bin", 100), "content");
  EXPECT_EQ(*(*source)->List(), (std::vector<std::string>{"dangling.bin", "model.bin"}));
  ExpectError((*source)->Size("dangling.bin").status(), StatusCode::kNotFound,
              {"dangling.bin", "symbolic link"});
}

TEST(DirectorySource, OnlyRegularFilesAndNeverBlocks) {
  const TempDir dir;
  ASSERT_EQ(mkfifo(dir.File("fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(dir.File("folder"));
  std::filesystem::create_symlink("/dev/zero", dir.File("zero"));
  auto source = OpenDirectory(dir.path());
  ASSERT_TRUE(source.ok());
  ExpectError((*source)->Size("fifo").status(), StatusCode::kInvalidArgument, {"fifo", "pipe"});
  ExpectError((*source)->Size("folder").status(), StatusCode::kInvalidArgument,
              {"folder", "a directory"});
  ExpectError((*source)->Size("zero").status(), StatusCode::kInvalidArgument, {"zero", "a device"});
}

TEST(DirectorySource, NamesThatLeaveTheDirectoryAreRefused) {
  const TempDir dir;
  dir.Write("in", "x");
  auto source = OpenDirectory(dir.path());
  ASSERT_TRUE(source.ok());
  for (const std::string& name :
       {std::string("../in"), std::string("/etc/passwd"), std::string(".."), std::string("."),
        std::string(""), std::string("a/b"), std::string("in\0x", 4)}) {
    ExpectError((*source)->Size(name).status(), StatusCode::kInvalidArgument,
                {"no plain file name"});
  }
}

TEST(DirectorySource, ErrorsSayWhichFileAndWhy) {
  const TempDir dir;
  dir.Write("short", "123");
  auto source = OpenDirectory(dir.path());
  ASSERT_TRUE(source.ok());
  ExpectError((*source)->Size("absent").status(), StatusCode::kNotFound,
              {dir.File("absent"), "No such file"});
  std::string buffer(5, ' ');
  ExpectError((*source)->Read("short", 0, Span(&buffer)), StatusCode::kDataLoss,
              {dir.File("short"), "5 bytes are wanted", "has 3 bytes"});
  ExpectError((*source)->Read("short", 4, Span(&buffer)), StatusCode::kDataLoss, {"short"});
  ExpectError((*source)->Read("short", ~0ull - 2, Span(&buffer)), StatusCode::kDataLoss,
              {"short", "cut short"});
  ExpectError(ReadAll(**source, "short", 2).status(), StatusCode::kInvalidArgument,
              {"3 bytes", "more than the 2"});
  ExpectError(OpenDirectory(dir.File("absent")).status(), StatusCode::kNotFound, {"absent"});
  ExpectError(OpenDirectory(dir.File("short")).status(), StatusCode::kInvalidArgument,
              {"is a file"});
  ExpectError(OpenDirectory("").status(), StatusCode::kNotFound, {"\"\""});
}

TEST(DirectorySource, UnreadableFile) {
  const TempDir dir;
  dir.Write("secret", "x");
  ASSERT_EQ(chmod(dir.File("secret").c_str(), 0), 0);
  auto source = OpenDirectory(dir.path());
  ASSERT_TRUE(source.ok());
  const absl::Status status = (*source)->Size("secret").status();
  if (geteuid() == 0) {
    EXPECT_TRUE(status.ok()) << status;  // root reads everything
  } else {
    ExpectError(status, StatusCode::kPermissionDenied, {"secret", "Permission denied"});
  }
}

TEST(DirectorySource, ManyFilesKeepFewDescriptors) {
  const TempDir dir;
  constexpr int kFiles = 400;
  for (int i = 0; i < kFiles; ++i) dir.Write(Cat("f", i), Cat("content ", i));
  const auto descriptors = [] {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd")) {
      ++n;
    }
    return n;
  };
  const std::size_t before = descriptors();
  {
    auto source = OpenDirectory(dir.path());
    ASSERT_TRUE(source.ok());
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (std::size_t t = 0; t < wrong.size(); ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kFiles; ++i) {
          const auto text = ReadAll(**source, Cat("f", i), 100);
          if (!text.ok() || *text != Cat("content ", i)) ++wrong[t];
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, std::vector<int>(4, 0));
    EXPECT_LE(descriptors(), before + 129);
  }
  EXPECT_EQ(descriptors(), before);
}

TEST(MemorySource, ReadsAndRefuses) {
  auto source = OpenMemory("mem", {{"b", "0123"}, {"a", ""}});
  EXPECT_EQ(*source->List(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(*source->Size("b"), 4u);
  std::string part(2, ' ');
  ASSERT_TRUE(source->Read("b", 2, Span(&part)).ok());
  EXPECT_EQ(part, "23");
  ExpectError(source->Read("b", 3, Span(&part)), StatusCode::kDataLoss, {"mem/b", "has 4 bytes"});
  ExpectError(source->Read("b", ~0ull, Span(&part)), StatusCode::kDataLoss, {"mem/b"});
  ExpectError(source->Size("c").status(), StatusCode::kNotFound, {"mem/c"});
}

}  // namespace
}  // namespace mossrt::runtime::testing
