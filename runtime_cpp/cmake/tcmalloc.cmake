# The allocator is linked into the program, so that no figure depends on LD_PRELOAD.
find_library(tcmalloc_library NAMES tcmalloc_minimal libtcmalloc_minimal.so.4 NAMES_PER_DIR)
add_library(zoo_tcmalloc INTERFACE)
add_library(zoo::tcmalloc ALIAS zoo_tcmalloc)
if(NOT tcmalloc_library)
  set(GPERFTOOLS_BUILD_STATIC OFF)
  set(gperftools_build_minimal ON)
  set(gperftools_build_benchmark OFF)
  zoo_fetch(gperftools
    https://github.com/gperftools/gperftools/releases/download/gperftools-2.15/gperftools-2.15.tar.gz
    c69fef855628c81ef56f12e3c58f2b7ce1f326c0a1fe783e5cae0b88cbbe9a80)
  set(tcmalloc_library tcmalloc_minimal)
  set(zoo_tcmalloc_folder $<TARGET_FILE_DIR:tcmalloc_minimal>)
endif()
# Nothing calls it by name, so the linker must be told to keep it.
target_link_libraries(zoo_tcmalloc INTERFACE $<LINK_LIBRARY:kept,${tcmalloc_library}>)
