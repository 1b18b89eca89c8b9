#include "artifact/schema.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "fixtures.h"

namespace zoo {
namespace {

// The fault of `value` under `schema`; empty where there is none.
std::string fault(const char* schema, const char* value) {
  return first_fault(Json::parse(value), OrderedJson::parse(schema)).value_or("");
}

TEST(Schema, TypesAreThoseOfJsonAndNotOfPython) {
  const char* integer = R"({"properties": {"a": {"type": "integer"}}})";
  EXPECT_EQ(fault(integer, R"({"a": -3})"), "");
  EXPECT_EQ(fault(integer, R"({"a": 1.0})"), "a must be of type integer, it is number");
  EXPECT_EQ(fault(integer, R"({"a": 1e2})"), "a must be of type integer, it is number");
  EXPECT_EQ(fault(integer, R"({"a": true})"), "a must be of type integer, it is boolean");
  EXPECT_EQ(fault(R"({"type": "number"})", "1"), "");
  EXPECT_NE(fault(R"({"type": "number"})", "false"), "");
  EXPECT_EQ(fault(R"({"type": ["object", "null"]})", "null"), "");
  EXPECT_EQ(fault(R"({"type": ["object", "null"]})", "[]"),
            " must be of type object or null, it is array");
}

TEST(Schema, TextHasALengthInCodePointsAndAWholePattern) {
  const char* text = R"({"minLength": 2, "maxLength": 3, "pattern": "^[^/]+$"})";
  EXPECT_EQ(fault(text, R"("ab")"), "");
  EXPECT_EQ(fault(text, R"("\u00e4\ud83d\ude00\u20ac")"), "");
  EXPECT_EQ(fault(text, R"("abcd")"), " must have 2 to 3 characters, it has 4");
  EXPECT_EQ(fault(text, R"("a")"), " must have 2 to 3 characters, it has 1");
  EXPECT_EQ(fault(text, R"("a/b")"), R"( must match ^[^/]+$, it is "a/b")");
  EXPECT_NE(fault(R"({"maxLength": 9, "pattern": "^a$"})", R"("a\n")"), "");
  EXPECT_NE(fault(R"({"enum": ["a", "b"]})", "1"), "");
  EXPECT_EQ(fault(R"({"enum": ["a", "b"]})", R"("c")"), R"( must be a or b, it is "c")");
  EXPECT_EQ(fault(R"({"const": "a"})", R"("a")"), "");
}

TEST(Schema, NumbersAndListsHaveLimits) {
  EXPECT_EQ(fault(R"({"minimum": 0, "maximum": 5})", "5"), "");
  EXPECT_EQ(fault(R"({"minimum": 0})", "-1"), " must be at least 0, it is -1");
  EXPECT_EQ(fault(R"({"maximum": 9007199254740991})", "9007199254740991"), "");
  EXPECT_NE(fault(R"({"maximum": 9007199254740991})", "9007199254740992"), "");
  EXPECT_NE(fault(R"({"maximum": 9007199254740991})", "18446744073709551615"), "");
  const char* list = R"({"minItems": 1, "maxItems": 2, "items": {"type": "string"}})";
  EXPECT_EQ(fault(list, R"(["a"])"), "");
  EXPECT_EQ(fault(list, "[]"), " must have 1 to 2 entries, it has 0");
  EXPECT_EQ(fault(list, R"(["a", 1])"), "[1] must be of type string, it is integer");
}

TEST(Schema, ObjectsAreLookedAtInTheSchemasOrder) {
  const char* schema = R"({"required": ["b", "a"], "properties": {
      "b": {"type": "null"}, "a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}})";
  EXPECT_EQ(fault(schema, "{}"), "b is missing");
  EXPECT_EQ(fault(schema, R"({"b": 1})"), "a is missing");
  EXPECT_EQ(fault(schema, R"({"a": 1, "b": 1})"), "b must be of type null, it is integer");
  EXPECT_EQ(fault(schema, R"({"a": 1, "b": null})"), "a must be of type string, it is integer");
  EXPECT_EQ(fault(schema, R"({"a": "", "b": null, "c": 1})"), "");
  EXPECT_EQ(fault(R"({"additionalProperties": {"type": "null"}})", R"({"b": 1, "a\n": 2})"),
            "a? must be of type null, it is integer");
  EXPECT_EQ(fault(R"({"anyOf": [{"type": "string"}, {"type": "null"}]})", "1"),
            " must be of type string, it is integer");
}

TEST(Schema, AnUnknownKeywordIsNoSchema) {
  EXPECT_THROW(fault(R"({"multipleOf": 2})", "1"), std::invalid_argument);
  EXPECT_THROW(fault(R"({"type": "float"})", "1"), std::invalid_argument);
}

// Every node of the file, those too that no manifest here leads to.
void visit(OrderedJson node, const OrderedJson& defs) {
  node["$defs"] = defs;
  EXPECT_NO_THROW((void)first_fault(Json(), node)) << node.dump();
  const OrderedJson properties = node.value("properties", OrderedJson::object());
  for (const auto& [name, inner] : properties.items()) visit(inner, defs);
  for (const char* key : {"items", "additionalProperties"}) {
    if (node.contains(key)) visit(node[key], defs);
  }
  for (const OrderedJson& branch : node.value("anyOf", OrderedJson::array())) visit(branch, defs);
  if (node.contains("pattern")) {
    EXPECT_LE(node.at("maxLength").get<int>(), 256) << node.dump();
  }
}

TEST(Schema, TheInterpreterKnowsAllOfTheFile) {
  const OrderedJson& schema = manifest_schema();
  EXPECT_FALSE(first_fault(testing::make_manifest(), schema));
  const OrderedJson& defs = schema["$defs"];
  visit(schema, defs);
  for (const auto& [name, node] : defs.items()) visit(node, defs);
}

}  // namespace
}  // namespace zoo
