# CUDA graphs need CUDA's headers, not its toolkit: those of the system, or of pip's packages beside
# torch. Everything else that zoo-run does on a GPU goes through torch's device-generic interface.
set(zoo_cuda_graph_source src/engines/no_cuda_graph.cpp)
if(TARGET torch_cuda)
  file(GLOB zoo_cuda_hints "${ZOO_TORCH_DIR}/../nvidia/*/include")
  find_path(ZOO_CUDA_INCLUDE cuda_runtime_api.h
    HINTS ${zoo_cuda_hints} PATHS /usr/local/cuda/include ENV CUDA_HOME ENV CUDA_PATH
    PATH_SUFFIXES include DOC "Folder of cuda_runtime_api.h")
  if(ZOO_CUDA_INCLUDE)
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_INCLUDES "${ZOO_TORCH_DIR}/include" "${ZOO_CUDA_INCLUDE}")
    check_cxx_source_compiles("#include <ATen/cuda/CUDAGraph.h>\nint main() {}" ZOO_CUDA_HEADERS)
    unset(CMAKE_REQUIRED_INCLUDES)
  endif()
  if(ZOO_CUDA_HEADERS)
    set(zoo_cuda_graph_source src/engines/cuda_graph.cpp)
    set_source_files_properties(${zoo_cuda_graph_source} PROPERTIES
      COMPILE_OPTIONS "-isystem;${ZOO_CUDA_INCLUDE}")
  else()
    message(STATUS "CUDA graphs: none, cuda_runtime_api.h or what it needs was not found")
  endif()
endif()
target_sources(zoo_torch PRIVATE ${zoo_cuda_graph_source})
