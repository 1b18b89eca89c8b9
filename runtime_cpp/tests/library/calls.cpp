// calls ARTIFACT: runs two images of the bytes 0, 1, 2, ... and prints what the first output holds.
// Then prints the refusals of too few images, of none, and of floats.
#include <zoo_runtime/artifact.h>

#include <iostream>
#include <numeric>

namespace {

template <typename Work>
void print_refusal(Work&& work) {
  try {
    work();
    std::cout << "not refused\n";
  } catch (const zoo::Error& error) {
    std::cout << error.exit_code() << ' ' << error.what() << '\n';
  }
}

}  // namespace

int main(int, char** argv) {
  zoo::Artifact loaded = zoo::Artifact::load(argv[1]);
  const zoo::Artifact artifact = std::move(loaded);
  std::vector<std::uint8_t> images(2 * artifact.input().size);
  std::iota(images.begin(), images.end(), std::uint8_t{0});
  const std::vector<float> values = artifact.run(images, 2).front();
  for (const float value : values) std::cout << value << ' ';
  std::cout << '\n';
  print_refusal([&] { static_cast<void>(artifact.run(images, 3)); });
  print_refusal([&] { static_cast<void>(artifact.run(images, 0)); });
  print_refusal([&] { static_cast<void>(artifact.run(std::vector<float>(images.size()), 2)); });
}
