// Where libjpeg and libpng were not there when zoo-run was built.
#include "base/error.h"
#include "image/decode.h"

namespace zoo {

std::vector<std::string> picture_formats() { return {}; }

void require_picture_formats() {
  fail_machine(
      "--image: this zoo-run was built without image support: install libjpeg-dev "
      "libpng-dev and build again");
}

UprightPicture decode_upright(std::span<const std::byte>, const std::string&, const FindScale&) {
  require_picture_formats();
  return {};
}

}  // namespace zoo
