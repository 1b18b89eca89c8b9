#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

// The part of ONNX Runtime's C interface that zoo-run uses. The wheel of ONNX Runtime brings its
// library and no header, so the part is declared here. The interface is a table of functions that a
// release may only lengthen: a function keeps its place in it for ever.
namespace zoo::onnxruntime {

// 1.5 is the oldest ONNX Runtime whose table has every function below: kAddSessionConfigEntry came
// with it, all others with 1.0. A library offers the tables of all versions up to its own.
inline constexpr uint32_t kTableVersion = 5;

// What the library makes and gives back.
struct Status;
struct Env;
struct SessionOptions;
struct Session;
struct RunOptions;
struct Value;
struct MemoryInfo;
struct TypeInfo;
struct TensorInfo;
struct Allocator;

// Values of its enumerations.
inline constexpr int kFatal = 4;            // OrtLoggingLevel
inline constexpr int kSequential = 0;       // ExecutionMode
inline constexpr int kAllOptimised = 99;    // GraphOptimizationLevel
inline constexpr int kFloat32 = 1;          // ONNXTensorElementDataType
inline constexpr int kUint8 = 2;            // the same
inline constexpr int kDeviceAllocator = 0;  // OrtAllocatorType
inline constexpr int kDefaultMemory = 0;    // OrtMemType

// A function of the table: its place and its type.
template <size_t kPlace, typename Type>
struct Function {};
// One that may fail; null says that it did not.
template <size_t kPlace, typename... Parameters>
using Fallible = Function<kPlace, Status*(Parameters...)>;

using GetCount = Status*(const Session*, size_t*);
using GetName = Status*(const Session*, size_t, Allocator*, char**);
using GetType = Status*(const Session*, size_t, TypeInfo**);

inline constexpr Function<2, const char*(const Status*)> kGetErrorMessage{};
inline constexpr Fallible<3, int, const char*, Env**> kCreateEnv{};
inline constexpr Fallible<8, const Env*, const void*, size_t, const SessionOptions*, Session**>
    kCreateSessionFromArray{};
inline constexpr Fallible<9, Session*, const RunOptions*, const char* const*, const Value* const*,
                          size_t, const char* const*, size_t, Value**>
    kRun{};
inline constexpr Fallible<10, SessionOptions**> kCreateSessionOptions{};
inline constexpr Fallible<13, SessionOptions*, int> kSetSessionExecutionMode{};
inline constexpr Fallible<22, SessionOptions*, int> kSetSessionLogSeverityLevel{};
inline constexpr Fallible<23, SessionOptions*, int> kSetSessionGraphOptimizationLevel{};
inline constexpr Fallible<24, SessionOptions*, int> kSetIntraOpNumThreads{};
inline constexpr Function<30, GetCount> kSessionGetInputCount{};
inline constexpr Function<31, GetCount> kSessionGetOutputCount{};
inline constexpr Function<33, GetType> kSessionGetInputTypeInfo{};
inline constexpr Function<34, GetType> kSessionGetOutputTypeInfo{};
inline constexpr Function<36, GetName> kSessionGetInputName{};
inline constexpr Function<37, GetName> kSessionGetOutputName{};
inline constexpr Fallible<49, const MemoryInfo*, void*, size_t, const int64_t*, size_t, int,
                          Value**>
    kCreateTensorWithDataAsOrtValue{};
inline constexpr Fallible<55, const TypeInfo*, const TensorInfo**> kCastTypeInfoToTensorInfo{};
inline constexpr Fallible<60, const TensorInfo*, int*> kGetTensorElementType{};
inline constexpr Fallible<61, const TensorInfo*, size_t*> kGetDimensionsCount{};
inline constexpr Fallible<62, const TensorInfo*, int64_t*, size_t> kGetDimensions{};
inline constexpr Fallible<69, int, int, MemoryInfo**> kCreateCpuMemoryInfo{};
inline constexpr Fallible<76, Allocator*, void*> kAllocatorFree{};
inline constexpr Fallible<78, Allocator**> kGetAllocatorWithDefaultOptions{};
inline constexpr Fallible<130, SessionOptions*, const char*, const char*> kAddSessionConfigEntry{};

// What gives each of them back.
template <typename T>
inline constexpr size_t kReleasePlace = 0;
template <>
inline constexpr size_t kReleasePlace<Env> = 92;
template <>
inline constexpr size_t kReleasePlace<Status> = 93;
template <>
inline constexpr size_t kReleasePlace<MemoryInfo> = 94;
template <>
inline constexpr size_t kReleasePlace<Session> = 95;
template <>
inline constexpr size_t kReleasePlace<Value> = 96;
template <>
inline constexpr size_t kReleasePlace<TypeInfo> = 98;
template <>
inline constexpr size_t kReleasePlace<SessionOptions> = 100;

class Library;

template <typename T>
struct Release {
  const Library* library = nullptr;
  void operator()(T* object) const;
};
template <typename T>
using Owned = std::unique_ptr<T, Release<T>>;

// What ONNX Runtime said when a call failed.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The opened library. It stays loaded until the program ends.
class Library {
 public:
  // Opens the first of `names` that the loader finds. Fails with 4 where there is none, or where it
  // is no ONNX Runtime from 1.5 on.
  explicit Library(std::span<const char* const> names);

  // "1.32.0"
  [[nodiscard]] const std::string& version() const { return version_; }

  // Calls a function of the table, which throws Error where it fails.
  template <size_t kPlace, typename... Parameters>
  void call(Fallible<kPlace, Parameters...> function,
            std::type_identity_t<Parameters>... arguments) const {
    check(at(function)(arguments...));
  }

  // The same of a function whose last parameter says where to put what it makes.
  template <typename T, size_t kPlace, typename... Parameters>
  [[nodiscard]] Owned<T> make(Fallible<kPlace, Parameters...> function, auto... arguments) const {
    T* object = nullptr;
    call(function, arguments..., &object);
    return Owned<T>(object, Release<T>{this});
  }

  template <size_t kPlace, typename Type>
  [[nodiscard]] Type* at(Function<kPlace, Type>) const {
    return reinterpret_cast<Type*>(table_[kPlace]);
  }

 private:
  using AnyFunction = void (*)();

  void check(Status* status) const;

  const AnyFunction* table_ = nullptr;
  std::string version_;
};

template <typename T>
void Release<T>::operator()(T* object) const {
  library->at(Function<kReleasePlace<T>, void(T*)>{})(object);
}

}  // namespace zoo::onnxruntime
