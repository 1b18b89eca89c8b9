# The decoders of zoo-run --image. The libraries are linked only into what uses them: a program that
# links zoo_runtime does not get them.
set(zoo_images_found OFF)
if(NOT ZOO_IMAGES STREQUAL "OFF")
  find_package(JPEG QUIET)
  find_package(PNG QUIET)
  if(JPEG_FOUND AND PNG_FOUND)
    set(zoo_images_found ON)
  elseif(ZOO_IMAGES STREQUAL "ON")
    message(FATAL_ERROR "libjpeg or libpng is missing: apt install libjpeg-dev libpng-dev "
                        "(dnf install libjpeg-turbo-devel libpng-devel)")
  endif()
endif()

if(zoo_images_found)
  message(STATUS "Images: libjpeg ${JPEG_VERSION}, libpng ${PNG_VERSION_STRING}")
  target_sources(zoo_core PRIVATE src/image/decode.cpp src/image/jpeg.cpp src/image/png.cpp)
  target_include_directories(zoo_core SYSTEM PRIVATE ${JPEG_INCLUDE_DIRS} ${PNG_INCLUDE_DIRS})
  set(image_libraries ${JPEG_LIBRARIES} ${PNG_LIBRARIES})
  list(REMOVE_ITEM image_libraries ${ZLIB_LIBRARIES})  # libpng's own; see zoo-run
  list(JOIN image_libraries "," image_libraries)
  target_link_libraries(zoo_core PRIVATE $<LINK_LIBRARY:if_used,${image_libraries}>)
else()
  message(STATUS "Images: ${ZOO_IMAGES}, libjpeg and libpng are not used: zoo-run is built without --image")
  target_sources(zoo_core PRIVATE src/image/no_decode.cpp)
endif()
