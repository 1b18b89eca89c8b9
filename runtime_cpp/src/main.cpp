#include <iostream>
#include <new>

#include "base/atomic_file.h"
#include "base/interrupt.h"
#include "base/scratch.h"
#include "engines/offer.h"
#include "session.h"

namespace {

int fail(zoo::ExitCode code, const std::string& message) {
  std::cerr << "zoo-run: " << message << '\n';
  return static_cast<int>(code);
}

int run(int argc, char** argv) {
  const zoo::Options options = zoo::parse_options(argc, argv, zoo::version_line());
  if (!options.print.empty()) {
    std::cout << options.print;
    return static_cast<int>(zoo::ExitCode::kDone);
  }
  if (options.capabilities) {
    std::cout << zoo::dump_json(zoo::capabilities());
    return static_cast<int>(zoo::ExitCode::kDone);
  }
  zoo::install_signal_handlers();
  zoo::check_outputs(options);
  const zoo::Scratch scratch;
  const zoo::Artifact artifact = zoo::open_artifact(options.artifact);
  zoo::Session session(artifact, options);
  const zoo::Report report = session.run();
  zoo::publish(report, options, std::cout);
  if (!report.warning.empty()) std::cerr << "zoo-run: " << report.warning << '\n';
  return static_cast<int>(report.exit_code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const zoo::RunnerError& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(zoo::ExitCode::kMachineLacks, "out of memory");
  } catch (const std::exception& error) {
    return fail(zoo::ExitCode::kBadArtifact, error.what());
  }
}
