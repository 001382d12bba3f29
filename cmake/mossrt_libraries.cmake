# The libraries that programs link: all rooms' objects in one piece.
#   mossrt::mossrt         shared, the C interface; no dependency is visible
#   mossrt::mossrt_static  the same, static
#   mossrt::runtime        static, the C++ runtime without the C interface; abseil in its interface
get_property(rooms GLOBAL PROPERTY MOSSRT_ROOMS)
set(objects "")
set(runtime_objects "")
set(dependencies "")
foreach(room ${rooms})
  list(APPEND objects $<TARGET_OBJECTS:${room}>)
  if(NOT room STREQUAL "mossrt_capi")
    list(APPEND runtime_objects $<TARGET_OBJECTS:${room}>)
  endif()
  get_target_property(linked ${room} LINK_LIBRARIES)
  foreach(library ${linked})
    if(library MATCHES "^(nlohmann_json::|Eigen3::)") # headers only: needed to build, not to link
      list(APPEND dependencies $<BUILD_INTERFACE:${library}>)
    elseif(NOT library MATCHES "mossrt_")
      list(APPEND dependencies ${library})
    endif()
  endforeach()
endforeach()
list(REMOVE_DUPLICATES dependencies)

add_library(mossrt SHARED ${objects})
add_library(mossrt_static STATIC ${objects})
add_library(mossrt_runtime STATIC ${runtime_objects})
set_target_properties(mossrt PROPERTIES VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} # until 1.0 every minor version breaks
  LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/mossrt.map)
# dlclose leaves it mapped: threads of objects that are still alive run its code.
target_link_options(mossrt PRIVATE LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/mossrt.map
                    LINKER:-z,nodelete)
if(NOT MOSSRT_SANITIZE AND NOT MOSSRT_BUILD_FUZZERS) # their runtimes are in the program alone
  # Defined is what is declared: a symbol that no room brings must not wait for the user's program.
  target_link_options(mossrt PRIVATE LINKER:--no-undefined)
endif()
set_target_properties(mossrt_static PROPERTIES OUTPUT_NAME mossrt EXPORT_NAME mossrt_static)
set_target_properties(mossrt_runtime PROPERTIES EXPORT_NAME runtime)
foreach(target mossrt mossrt_static mossrt_runtime)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                             $<INSTALL_INTERFACE:include>)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:mossrt_flags>)
endforeach()
target_link_libraries(mossrt PRIVATE ${dependencies})
target_link_libraries(mossrt_static PRIVATE ${dependencies})
target_link_libraries(mossrt_runtime PRIVATE ${dependencies}
                      PUBLIC absl::status absl::statusor absl::strings)
target_compile_features(mossrt_runtime INTERFACE cxx_std_20)
# A program of C alone is linked by the C compiler, which does not know the C++ runtime.
target_link_libraries(mossrt_static INTERFACE "$<$<LINK_LANG_AND_ID:C,GNU,Clang>:stdc++;m>")

add_library(mossrt::mossrt ALIAS mossrt)
add_library(mossrt::mossrt_static ALIAS mossrt_static)
add_library(mossrt::runtime ALIAS mossrt_runtime)
set_property(GLOBAL PROPERTY MOSSRT_DEPENDENCIES "${dependencies}")
