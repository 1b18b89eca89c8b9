# One folder with zoo-run, its engines and every library that they load, but for those of C and C++:
# cmake --install BUILD --component bundle --prefix FOLDER
set(bundle_programs ${CMAKE_INSTALL_BINDIR} COMPONENT bundle EXCLUDE_FROM_ALL)
set(bundle_libraries ${CMAKE_INSTALL_LIBDIR} COMPONENT bundle EXCLUDE_FROM_ALL)
set(bundled zoo-run)
set(opened ${zoo_onnxruntime_library})  # these are opened, so no other library asks for them
if(TARGET zoo-run-openvino)
  list(APPEND bundled zoo-run-openvino)
  foreach(name intel_cpu_plugin onnx_frontend)
    file(GLOB library "${openvino_folder}/libopenvino_${name}.so*")
    list(APPEND opened ${library})
    if(NOT library)
      message(STATUS "OpenVINO: no ${name} in ${openvino_folder}, a bundle would lack it")
    endif()
  endforeach()
endif()
install(TARGETS ${bundled} RUNTIME_DEPENDENCY_SET zoo_bundle
        RUNTIME DESTINATION ${bundle_programs} LIBRARY DESTINATION ${bundle_libraries})
install(RUNTIME_DEPENDENCY_SET zoo_bundle
        PRE_EXCLUDE_REGEXES "^(ld-linux.*|lib(c|dl|m|pthread|rt|gcc_s|stdc\\+\\+))\\.so"
        LIBRARY DESTINATION ${bundle_libraries})
install(FILES ${opened} DESTINATION ${bundle_libraries})
