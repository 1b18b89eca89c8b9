# The OpenVINO engine is a module of its own: zoo-run opens it for an OpenVINO artifact only. Linked
# in, every start would load OpenVINO, and none would succeed once its wheel is gone.
set(zoo_openvino_found OFF)
if(NOT ZOO_OPENVINO STREQUAL "OFF")
  set(openvino_hint "${ZOO_OPENVINO_DIR}")
  if(NOT openvino_hint)
    set(openvino_hint "${ZOO_TORCH_DIR}/../openvino/cmake")
  endif()
  # Looked for anew each time: the wheel may have come or gone since.
  unset(OpenVINO_DIR CACHE)
  find_package(OpenVINO QUIET COMPONENTS Runtime HINTS "${openvino_hint}")
  set(zoo_openvino_found ${OpenVINO_FOUND})
  if(ZOO_OPENVINO STREQUAL "ON" AND NOT OpenVINO_FOUND)
    message(FATAL_ERROR "no OpenVINO at '${openvino_hint}': pip install openvino beside torch, or "
                        "pass -DZOO_OPENVINO_DIR=, the folder that holds OpenVINOConfig.cmake")
  endif()
endif()

if(zoo_openvino_found)
  message(STATUS "OpenVINO: ${OpenVINO_VERSION}, ${OpenVINO_DIR}")
  target_sources(zoo_torch PRIVATE src/engines/openvino.cpp)
  target_compile_definitions(zoo_torch PRIVATE ZOO_HAS_OPENVINO)
  target_link_libraries(zoo_torch PRIVATE ${CMAKE_DL_LIBS})

  add_library(zoo-run-openvino MODULE src/engines/openvino_module.cpp src/base/text.cpp)
  target_include_directories(zoo-run-openvino PRIVATE src)
  target_link_libraries(zoo-run-openvino PRIVATE zoo_options zoo::torch openvino::runtime)
  get_target_property(openvino_library openvino::runtime IMPORTED_LOCATION_RELEASE)
  get_filename_component(openvino_folder "${openvino_library}" DIRECTORY)
  # TBB would open these two with RTLD_DEEPBIND: they would free with libc's allocator what tcmalloc
  # gave them, and abort. Loaded with the module they use the allocator that everything else uses.
  file(GLOB openvino_deepbound "${openvino_folder}/libhwloc.so*" "${openvino_folder}/libtbbbind*.so*")
  foreach(library ${openvino_deepbound})
    target_link_libraries(zoo-run-openvino PRIVATE $<LINK_LIBRARY:kept,${library}>)
  endforeach()
  set_target_properties(zoo-run-openvino PROPERTIES PREFIX ""
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN;${openvino_folder};${ZOO_TORCH_DIR}/lib")
  add_dependencies(zoo-run zoo-run-openvino)
  install(TARGETS zoo-run-openvino LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
else()
  message(STATUS "OpenVINO: none, zoo-run is built without that engine")
endif()
