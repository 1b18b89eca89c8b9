# libtorch as it lies in the Python wheel. Torch's own CMake package wants a CUDA toolkit beside a
# CUDA wheel, which nobody who only runs models has, so the libraries are named here instead.
if(NOT ZOO_TORCH_DIR)
  execute_process(
    COMMAND python3 -c "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s else '', end='')"
    OUTPUT_VARIABLE found_torch_dir ERROR_QUIET)
  set(ZOO_TORCH_DIR "${found_torch_dir}" CACHE PATH "Folder of the torch package" FORCE)
endif()
if(NOT EXISTS "${ZOO_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no torch at '${ZOO_TORCH_DIR}': activate the environment that has torch, or "
                      "pass -DZOO_TORCH_DIR=.../site-packages/torch")
endif()
message(STATUS "torch: ${ZOO_TORCH_DIR}")

add_library(zoo_torch_wheel INTERFACE)
add_library(zoo::torch ALIAS zoo_torch_wheel)
target_include_directories(zoo_torch_wheel SYSTEM INTERFACE
  "${ZOO_TORCH_DIR}/include"
  "${ZOO_TORCH_DIR}/include/torch/csrc/api/include")  # for torch/version.h alone
# A CUDA wheel's libraries find each other at run time; the linker need not follow them.
target_link_options(zoo_torch_wheel INTERFACE -Wl,--allow-shlib-undefined)

# Kernels and CUDA register themselves when loaded, no symbol asks for them; what torch 2.11 compiles
# ahead of time asks for libtorch.so, which is empty but for its name.
foreach(name torch torch_cpu c10 torch_cuda c10_cuda)
  if(EXISTS "${ZOO_TORCH_DIR}/lib/lib${name}.so")
    add_library(${name} SHARED IMPORTED)
    set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${ZOO_TORCH_DIR}/lib/lib${name}.so")
    target_link_libraries(zoo_torch_wheel INTERFACE $<LINK_LIBRARY:kept,${name}>)
  endif()
endforeach()

# The same run path built and installed: where the two differ CMake pads the first with an empty
# entry, and the loader takes that for the current folder. What lies beside comes first, so that a
# folder of zoo-run, the library and their engines may be moved.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY "${CMAKE_INSTALL_FULL_BINDIR}"
           OUTPUT_VARIABLE zoo_lib_from_bin)
function(zoo_set_rpath)
  set_target_properties(${ARGV} PROPERTIES BUILD_WITH_INSTALL_RPATH ON
    INSTALL_RPATH "$ORIGIN;$ORIGIN/${zoo_lib_from_bin};${ZOO_TORCH_DIR}/lib;${zoo_dependencies_folder};${zoo_tcmalloc_folder};${zoo_onnxruntime_folder}")
endfunction()
