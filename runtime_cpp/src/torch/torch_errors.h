#pragma once

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "base/error.h"

namespace zoo {

// One line for an error of torch's: 4 where memory ran out, 3 for everything else, because what
// torch was given came from the artifact or the input.
[[noreturn]] void fail_from_torch(const std::string& doing, const std::string& what);

// Runs `work`; whatever torch throws becomes a RunnerError that starts with `doing`.
template <typename Work>
auto with_torch_errors(const std::string& doing, Work&& work) {
  try {
    return work();
  } catch (const RunnerError&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    fail_machine(doing + ": the GPU's memory is not enough");
  } catch (const c10::Error& error) {
    fail_from_torch(doing, error.what_without_backtrace());
  } catch (const std::exception& error) {
    fail_from_torch(doing, error.what());
  }
}

}  // namespace zoo
