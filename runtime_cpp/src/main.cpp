#include <iostream>
#include <new>
#include <string>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/scratch.h"
#include "base/text.h"
#include "compare.h"
#include "engines/offer.h"
#include "session.h"

// Parse the options, open and verify the artifact, run it, report. Session::run() measures it,
// proves it (--check) or answers inputs (--input, --image). Several artifacts are compared; each
// then runs in processes of its own, which are this program with --turns.

namespace {

int fail(zoo::ExitCode code, const std::string& message) {
  if (code != zoo::ExitCode::kPipeClosed)
    std::cerr << "zoo-run: " << zoo::printable(message) << '\n';
  return static_cast<int>(code);
}

int print(const std::string& text) {
  zoo::write_text(text, std::cout);
  return static_cast<int>(zoo::ExitCode::kDone);
}

int finish(const zoo::Report& report, const zoo::Options& options) {
  zoo::write_report(report, options, std::cout);
  if (!report.warning.empty()) std::cerr << "zoo-run: " << zoo::printable(report.warning) << '\n';
  return static_cast<int>(report.exit_code);
}

int run(int argc, char** argv) {
  zoo::install_signal_handlers();
  const zoo::Options options = zoo::parse_options(argc, argv, zoo::version_line());
  if (!options.print.empty()) return print(options.print);
  if (options.capabilities) return print(zoo::dump_json(zoo::capabilities()));
  zoo::check_output_paths(options);
  if (options.compares()) return finish(zoo::compare(options), options);
  const zoo::Scratch scratch;  // where loaders unpack; removed at the end
  const zoo::VerifiedArtifact artifact = zoo::open_artifact(options.artifacts.front());
  zoo::Session session(artifact, options);
  if (!options.turns) return finish(session.run(), options);
  session.answer_turns(std::cin, std::cout);
  return static_cast<int>(zoo::ExitCode::kDone);
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
