#include <ATen/ATen.h>
#include <torch/library.h>

#include "test_class.h"

// An operator on the class of test_class.cpp. It names that library nowhere: the manifest's order
// is what makes it load.
TORCH_LIBRARY(zoo_test_class_operator, library) {
  using zoo::testing::Weights;
  library.def("execute", [](const at::Tensor& x, const c10::intrusive_ptr<Weights>& weights) {
    return zoo::testing::apply(*weights, x);
  });
}
