// What zoo-run reads, where it writes, and what it prints of names that it was given.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>

#include "artifact/rules.h"
#include "base/file_descriptor.h"
#include "base/text.h"
#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::expect_refusal;
using testing::Outcome;
using testing::read_file;
using testing::run_zoo;
using testing::TempFolder;
using testing::write_network;

const std::string kEvil =
    "a\x1b[2J\x1b]0;owned\x07\xc2\x9b"
    "31m\xe2\x80\xae\nzoo-run: passed";

class Files : public ::testing::Test {
 protected:
  Files() {
    std::filesystem::create_directory(artifact_);
    write_network(artifact_);
    testing::write_counting(input_, {2, 1, 2, 2});
  }
  void edit(const std::function<void(Json&)>& change) {
    write_network(artifact_);
    Json manifest = Json::parse(read_file(artifact_ + "/manifest.json"));
    change(manifest);
    testing::write_manifest(artifact_, manifest.dump());
  }
  TempFolder place_;
  const std::string artifact_ = place_ / "artifact";
  const std::string input_ = place_ / "x.npy";
};

void expect_harmless(const std::vector<std::string>& arguments) {
  const Outcome outcome = run_zoo(arguments);
  for (std::string text : {outcome.out, outcome.err}) {
    EXPECT_EQ(text.find("\nzoo-run: passed"), std::string::npos) << text;
    std::erase(text, '\n');
    EXPECT_EQ(text, printable(text));
  }
}

TEST_F(Files, NamesNeverControlTheTerminal) {
  for (const char* field : {"/model/name", "/target/name", "/inputs/0/name", "/backend", "/schema",
                            "/requirements/torch", "/parity/gates/0/name", "/parity/samples/3/kind",
                            "/programs/0/entry", "/programs/0/file", "/outputs/0/classes"}) {
    edit([&](Json& manifest) {
      const Json::json_pointer pointer(field);
      manifest[pointer] =
          field == std::string("/outputs/0/classes") ? Json{kEvil, "b", "c"} : Json(kEvil);
    });
    expect_harmless({artifact_, "--check"});
    expect_harmless({artifact_, "--input", input_, "--json", "-"});
  }
  for (const std::string& path : {place_ / kEvil, artifact_}) {
    expect_harmless({path, "--input", place_ / (kEvil + ".npy")});
    expect_harmless({path, "--json", place_ / (kEvil + "/r.json")});
    expect_harmless({path, kEvil});
  }
}

TEST_F(Files, ResultsReplaceNoFileThatIsRead) {
  const auto refuse = [&](const std::string& flag, const std::string& path,
                          const std::string& part) {
    const std::string before = read_file(input_);
    expect_refusal({artifact_, "--input", input_, flag, path}, 2, part);
    EXPECT_EQ(read_file(input_), before);
  };
  std::filesystem::create_directory(place_ / "other");
  std::filesystem::create_directory_symlink(artifact_, place_ / "link");
  std::filesystem::create_hard_link(input_, place_ / "hard.npy");
  std::filesystem::create_symlink(input_, place_ / "soft.npy");
  for (const char* flag : {"--output", "--json"}) {
    for (const char* name : {"x.npy", "./x.npy", "other/../x.npy", "hard.npy", "soft.npy"}) {
      refuse(flag, place_ / name, "is the file of --input");
    }
    for (const char* name : {"artifact/y.npy", "other/../artifact/y.npy", "link/y.npy"}) {
      refuse(flag, place_ / name, "lies in the artifact's folder");
    }
  }
  EXPECT_FALSE(std::filesystem::exists(artifact_ + "/y.npy"));
  const std::string output = place_ / "y.npy";
  expect_refusal({artifact_, "--input", input_, "--output", output, "--json", place_ / "./y.npy"},
                 2, "is the file of --output");
  expect_refusal({artifact_ + "/", "--json", artifact_ + "/r.json"}, 2, "lies in");
  EXPECT_EQ(run_zoo({artifact_, "--input", input_, "--output", output}).exit_code, 0);
  EXPECT_EQ(run_zoo({artifact_, "--input", input_, "--output", output}).exit_code, 0);
  EXPECT_EQ(run_zoo({artifact_, "--input", input_, "--json", place_ / "artifact2"}).exit_code, 0);
}

void make_socket(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::ranges::copy(path, address.sun_path);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ::close(fd);
}

TEST_F(Files, OnlyRegularFilesAreRead) {
  const auto make = [](const std::string& path, char kind) {
    std::filesystem::remove(path);
    if (kind == 's') make_socket(path);
    if (kind == 'p') ::mkfifo(path.c_str(), 0600);
    if (kind == 'd') std::filesystem::create_symlink("/dev/zero", path);
    if (kind == 'f') std::filesystem::create_directory(path);
  };
  for (const char kind : {'s', 'p', 'd', 'f'}) {
    make(place_ / "y.npy", kind);
    expect_refusal({artifact_, "--input", place_ / "y.npy"}, 3, "y.npy: is not a regular file");
    if (kind != 'f') expect_refusal({place_ / "y.npy"}, 3, "is not a folder");
    std::filesystem::remove(place_ / "y.npy");
    for (const char* name : {"manifest.json", "manifest.sha256", "model.ts", kGoldenFile}) {
      make(artifact_ + "/" + name, kind);
      expect_refusal({artifact_}, 3, name);
      std::filesystem::remove(artifact_ + "/" + name);
      write_network(artifact_);
    }
  }
  const std::string name(256, 'n');
  expect_refusal({artifact_, "--input", place_ / (name + ".npy")}, 3, "File name too long");
  expect_refusal({place_ / name}, 3, "File name too long");
  edit([&](Json& manifest) { manifest["files"][name] = manifest["files"]["model.ts"]; });
  expect_refusal({artifact_}, 3, "File name too long");
}

// The exit code where nobody reads stdout. The file `err` gets what stderr says.
int code_without_reader(const std::vector<std::string>& arguments, const std::string& err) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const FileDescriptor out(ends[1]);
  ::close(ends[0]);
  const FileDescriptor said(::open(err.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const pid_t child = testing::start_zoo(arguments, out.get(), said.get(), "/tmp");
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_F(Files, NothingIsSaidWhereNobodyReads) {
  const std::string err = place_ / "err";
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--version"},
        {"--help"},
        {"--capabilities"},
        {artifact_, "--check"},
        {artifact_, "--check", "--json", "-"},
        {artifact_, "--input", input_, "--output", place_ / "y.npy"}}) {
    EXPECT_EQ(code_without_reader(arguments, err), 141);
    EXPECT_EQ(read_file(err), "");
  }
  EXPECT_TRUE(std::filesystem::exists(place_ / "y.npy"));
  EXPECT_EQ(code_without_reader({artifact_, "--check", "--quiet"}, err), 0);
}

}  // namespace
}  // namespace zoo
