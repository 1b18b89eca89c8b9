// Programs that need libraries of their own, as those of TensorRT do.
#include <ATen/ATen.h>

#include "machine/libraries.h"
#include "run_fixtures.h"

namespace zoo {
namespace {

using testing::run_zoo;
using testing::TempFolder;
using testing::TinyNetwork;
using testing::write_network;

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

TEST(RunLibraries, LoadsTheLibrariesThatAProgramNeeds) {
  const std::string library = ZOO_TEST_OPERATOR;
  const std::string name = name_of(library);
  const std::string place = folder_of(library);
  load_libraries({library}, {});  // to be able to write the program at all
  const TempFolder folder;
  TinyNetwork network;
  network.body = "return project(x, self.w)";
  write_network(folder.path(), network);
  testing::expect_refusal({folder.path(), "--check"}, 3, "zoo_test");
  network.load_first = {name};
  write_network(folder.path(), network);
  testing::expect_refusal({folder.path(), "--check"}, 4, name);
  EXPECT_EQ(run_zoo({folder.path(), "--check", "--library-path", place}).exit_code, 0);
}

// As a TensorRT program does: it holds an object of a class that a library registers, and calls an
// operator of another library, which needs the first.
TEST(RunLibraries, LoadsLibrariesInOrderBeforeAFileThatHoldsTheirObjects) {
  const std::string place = folder_of(ZOO_TEST_CLASS);
  const std::string first = name_of(ZOO_TEST_CLASS);
  const std::string second = name_of(ZOO_TEST_CLASS_OPERATOR);
  load_libraries({first, second}, {place});
  const TempFolder folder;
  TinyNetwork network;
  network.bound = at::linspace(-1, 1, 12).reshape({4, 3});
  network.body = "return execute(x, self.engine)";
  const auto expect_lacking = [&](const std::vector<std::string>& names,
                                  const std::vector<std::string>& options,
                                  const std::string& part) {
    network.load_first = names;
    write_network(folder.path(), network);
    std::vector<std::string> arguments = {folder.path(), "--check"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    testing::expect_refusal(arguments, 4, part);
  };
  expect_lacking({first, second}, {}, "the artifact needs the library " + first);
  expect_lacking({first, "libzoo_none.so"}, {"--library-path", place}, "library libzoo_none.so");
  expect_lacking({second, first}, {"--library-path", place}, "the library " + second);
  expect_lacking({second}, {"--library-path", place}, "the library " + second);

  network.load_first = {first, second};
  write_network(folder.path(), network);
  EXPECT_EQ(run_zoo({folder.path(), "--check", "--library-path", place}).exit_code, 0);
  network.load_first = {};
  write_network(folder.path(), network);
  testing::expect_refusal({folder.path(), "--check"}, 3, "Weights");
}

}  // namespace
}  // namespace zoo
