# The library for other programs, and its CMake package. What it is made of stays inside: an
# application that links the library needs none of those headers and libraries, and may use others.
include(CMakePackageConfigHelpers)

add_library(zoo_runtime SHARED src/library.cpp)
add_library(zoo_runtime::zoo_runtime ALIAS zoo_runtime)
target_compile_features(zoo_runtime PUBLIC cxx_std_20)
target_include_directories(zoo_runtime PUBLIC
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(zoo_runtime PRIVATE zoo_torch zoo_options)
set(zoo_exports ${CMAKE_CURRENT_SOURCE_DIR}/cmake/library.map)
target_link_options(zoo_runtime PRIVATE -Wl,--version-script,${zoo_exports}
                    INTERFACE -Wl,--allow-shlib-undefined)  # as zoo::torch has it
set_target_properties(zoo_runtime PROPERTIES
  LINK_DEPENDS ${zoo_exports}
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
zoo_set_rpath(zoo_runtime)
if(TARGET zoo-run-openvino)
  add_dependencies(zoo_runtime zoo-run-openvino)
endif()

set(zoo_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/zoo_runtime)
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS zoo_runtime EXPORT zoo_runtime)
install(EXPORT zoo_runtime NAMESPACE zoo_runtime:: FILE zoo_runtimeConfig.cmake
        DESTINATION ${zoo_package_folder})
write_basic_package_version_file(zoo_runtimeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/zoo_runtimeConfigVersion.cmake
        DESTINATION ${zoo_package_folder})
