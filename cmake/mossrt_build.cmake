# Flags of mossrt's own targets (nothing leaks into a parent project) and the function that makes a room.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# Linked to every target of ours and exported by none.
add_library(mossrt_flags INTERFACE)
target_compile_features(mossrt_flags INTERFACE cxx_std_20)
target_compile_options(mossrt_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion
  $<$<BOOL:${MOSSRT_WERROR}>:-Werror>
  -ffp-contract=off # contract 1: a fused multiply-add stands only where the text says so
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique> # or a plugin that links us could not be unloaded
  -fvisibility=hidden $<$<COMPILE_LANGUAGE:CXX>:-fvisibility-inlines-hidden>)
if(MOSSRT_SANITIZE)
  target_compile_options(mossrt_flags INTERFACE -fsanitize=${MOSSRT_SANITIZE} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer -g1)
  target_link_options(mossrt_flags INTERFACE -fsanitize=${MOSSRT_SANITIZE})
endif()
if(MOSSRT_BUILD_FUZZERS)
  target_compile_options(mossrt_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# mossrt_room(<name> SOURCES ... [LINK ...]): one folder of src as a static library of its own, so that its
# tests build without the rooms above it. mossrt::runtime joins the objects of all rooms.
function(mossrt_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(mossrt_${name} STATIC ${ARG_SOURCES})
  set_target_properties(mossrt_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF
                        EXCLUDE_FROM_ALL OFF)
  # Static objects stay until the process ends: other threads may still be inside a call when main returns.
  target_compile_options(mossrt_${name} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wexit-time-destructors>)
  target_include_directories(mossrt_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(mossrt_${name} PUBLIC ${ARG_LINK} PRIVATE $<BUILD_INTERFACE:mossrt_flags>)
  set_property(GLOBAL APPEND PROPERTY MOSSRT_ROOMS mossrt_${name})
endfunction()

# mossrt_test(<name> SOURCES ... LINK ...): a GoogleTest program, registered with CTest as one test.
function(mossrt_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest_main mossrt_flags)
  target_compile_definitions(${name} PRIVATE MOSSRT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600)
endfunction()

# mossrt_fuzzer(<name> SOURCES ... LINK ...): a libFuzzer target; its corpus is tests/data/corpus/<name>.
function(mossrt_fuzzer name)
  if(NOT MOSSRT_BUILD_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} mossrt_flags -fsanitize=fuzzer)
  target_compile_definitions(${name} PRIVATE MOSSRT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endfunction()
