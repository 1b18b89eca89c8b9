# Each dependency comes from ZOO_DEPENDENCIES_DIR if that is given, else from the system, or, where
# the system has none, from a pinned archive.
include(FetchContent)
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW)
endif()

function(zoo_fetch name url sha256)
  message(STATUS "${name}: not installed, fetching ${url}")
  FetchContent_Declare(${name} URL ${url} URL_HASH SHA256=${sha256} SYSTEM)
  FetchContent_MakeAvailable(${name})
endfunction()

# Two libraries of headers alone; find_package finds the rest there, and zoo-run its allocator.
if(ZOO_DEPENDENCIES_DIR)
  list(PREPEND CMAKE_PREFIX_PATH "${ZOO_DEPENDENCIES_DIR}")
  set(zoo_dependencies_folder "${ZOO_DEPENDENCIES_DIR}/lib")
  foreach(library nlohmann_json=nlohmann/json.hpp CLI11=CLI/CLI.hpp)
    string(REGEX MATCH "^(.*)=(.*)$" header "${library}")
    set(library ${CMAKE_MATCH_1})
    if(NOT EXISTS "${ZOO_DEPENDENCIES_DIR}/include/${CMAKE_MATCH_2}")
      message(FATAL_ERROR "no include/${CMAKE_MATCH_2} in '${ZOO_DEPENDENCIES_DIR}': run "
                          "`just gpu-pack` where it is installed, and bring build/gpu-pack here")
    endif()
    add_library(${library}::${library} INTERFACE IMPORTED)
    target_include_directories(${library}::${library} INTERFACE "${ZOO_DEPENDENCIES_DIR}/include")
    set(${library}_FOUND TRUE)
  endforeach()
endif()

if(NOT nlohmann_json_FOUND)
  find_package(nlohmann_json 3.10 QUIET)
endif()
if(NOT nlohmann_json_FOUND)
  zoo_fetch(nlohmann_json
    https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
    d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
endif()

if(NOT CLI11_FOUND)
  find_package(CLI11 2.1 QUIET)
endif()
if(NOT CLI11_FOUND)
  set(CLI11_BUILD_TESTS OFF)
  set(CLI11_BUILD_EXAMPLES OFF)
  zoo_fetch(CLI11
    https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.5.0.tar.gz
    17e02b4cddc2fa348e5dbdbb582c59a3486fa2b2433e70a0c3bacb871334fd55)
endif()

find_package(OpenSSL 1.1.1 QUIET COMPONENTS Crypto)
if(NOT OpenSSL_FOUND)
  message(FATAL_ERROR "OpenSSL's libcrypto is missing: apt install libssl-dev "
                      "(dnf install openssl-devel)")
endif()

if(ZOO_TESTS)
  find_package(GTest QUIET)
  if(NOT GTest_FOUND)
    set(INSTALL_GTEST OFF)
    zoo_fetch(googletest
      https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz
      8ad598c73ad796e0d8280b082cebd82a630d73e73cd3c70057938a6501bba5d7)
  endif()
endif()
