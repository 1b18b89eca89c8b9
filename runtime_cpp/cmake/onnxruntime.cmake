# The ONNX Runtime engine needs no header and no linking: zoo-run opens the library for an ONNX
# artifact only. What is looked for here says whether there is one, under which name and where.
set(zoo_onnxruntime_library "")
if(NOT ZOO_ONNXRUNTIME STREQUAL "OFF")
  set(onnxruntime_hint "${ZOO_ONNXRUNTIME_DIR}")
  if(NOT onnxruntime_hint)
    cmake_path(SET onnxruntime_hint NORMALIZE "${ZOO_TORCH_DIR}/../onnxruntime/capi")
  endif()
  # The wheel has libonnxruntime.so.1.32.0 alone, which find_library would not find.
  file(GLOB onnxruntime_candidates "${onnxruntime_hint}/libonnxruntime.so*")
  if(onnxruntime_candidates)
    list(GET onnxruntime_candidates -1 zoo_onnxruntime_library)
  elseif(NOT ZOO_ONNXRUNTIME_DIR)
    # Looked for anew each time: it may have come or gone since.
    find_library(onnxruntime_of_system NAMES onnxruntime libonnxruntime.so.1 NO_CACHE)
    if(onnxruntime_of_system)
      set(zoo_onnxruntime_library "${onnxruntime_of_system}")
    endif()
  endif()
  if(ZOO_ONNXRUNTIME STREQUAL "ON" AND NOT zoo_onnxruntime_library)
    message(FATAL_ERROR "no ONNX Runtime at '${onnxruntime_hint}': pip install onnxruntime beside "
                        "torch, or pass -DZOO_ONNXRUNTIME_DIR=, the folder that holds "
                        "libonnxruntime.so")
  endif()
endif()

if(zoo_onnxruntime_library)
  message(STATUS "ONNX Runtime: ${zoo_onnxruntime_library}")
  get_filename_component(onnxruntime_file "${zoo_onnxruntime_library}" NAME)
  get_filename_component(zoo_onnxruntime_folder "${zoo_onnxruntime_library}" DIRECTORY)
  target_sources(zoo_torch PRIVATE src/engines/onnxruntime.cpp)
  target_compile_definitions(zoo_torch PRIVATE ZOO_ONNXRUNTIME_FILE="${onnxruntime_file}")
elseif(ZOO_ONNXRUNTIME STREQUAL "OFF")
  message(STATUS "ONNX Runtime: OFF, zoo-run is built without that engine")
else()
  message(STATUS "ONNX Runtime: none at '${onnxruntime_hint}', zoo-run is built "
                 "without that engine")
endif()
