#include "base/json.h"

#include <set>
#include <vector>

#include "base/error.h"

namespace zoo {

namespace {
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
}  // namespace

Json parse_json(std::string_view text, const std::string& name, int max_depth) {
  using Event = Json::parse_event_t;
  if (text.starts_with(kByteOrderMark)) fail_artifact(name + ": starts with a byte-order mark");
  // The parser takes a zero byte for the end of the text, and would not look behind it.
  if (text.find('\0') != text.npos) fail_artifact(name + ": is not JSON: it holds a zero byte");
  std::vector<std::set<std::string>> keys;  // of every object that is open
  // `depth` is how many objects and lists are open around this one.
  const auto watch = [&](int depth, Event event, Json& value) {
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= max_depth) {
      fail_artifact(name + ": is nested deeper than " + std::to_string(max_depth) + " levels");
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        fail_artifact(name + ": the key '" + key + "' is there twice");
      }
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    fail_artifact(name + ": is not JSON: " + error.what());
  }
}

std::string dump_json(const OrderedJson& document) {
  return document.dump(2, ' ', true, OrderedJson::error_handler_t::replace) + "\n";
}

std::string dump_json_line(const OrderedJson& document) {
  return document.dump(-1, ' ', true, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace zoo
