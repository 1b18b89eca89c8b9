#include <zoo_runtime/artifact.h>

#include <algorithm>
#include <iostream>
int main(int, char** argv) try {  // best_class ARTIFACT < image.f32
  const auto artifact = zoo::Artifact::load(argv[1]);
  std::vector<float> image(artifact.input().size);
  std::cin.read(reinterpret_cast<char*>(image.data()), std::ssize(image) * 4);
  const std::vector<float> scores = artifact.run(image).front();
  const auto best = std::ranges::max_element(scores) - scores.begin();
  std::cout << artifact.outputs().front().classes.at(best) << '\n';
} catch (const zoo::Error& error) {
  std::cerr << error.what() << '\n';
  return error.exit_code();
}
