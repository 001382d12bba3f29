# Headers, libraries, CMake package and pkg-config files, all relocatable. Component "sdk".
if(NOT MOSSRT_INSTALL)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mossrt)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/mossrt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT sdk
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" PATTERN "*.inc")
# Two export sets: a user of the shared library needs none of the packages that the static ones name.
install(TARGETS mossrt EXPORT mossrtSharedTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk NAMELINK_COMPONENT sdk)
install(TARGETS mossrt_static mossrt_runtime EXPORT mossrtStaticTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk)
foreach(kind Shared Static)
  install(EXPORT mossrt${kind}Targets NAMESPACE mossrt:: DESTINATION ${package_dir} COMPONENT sdk)
endforeach()
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mossrtConfig.cmake.in
  ${PROJECT_BINARY_DIR}/mossrtConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mossrtConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mossrtConfig.cmake ${PROJECT_BINARY_DIR}/mossrtConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT sdk)

# pkg-config names of what the static library links.
set(requires "")
set(libraries "-lstdc++ -lm")
get_property(dependencies GLOBAL PROPERTY MOSSRT_DEPENDENCIES)
foreach(library ${dependencies})
  if(library MATCHES "^absl::(.*)$")
    list(APPEND requires absl_${CMAKE_MATCH_1})
  elseif(library STREQUAL "ZLIB::ZLIB")
    list(APPEND requires zlib)
  elseif(library MATCHES "^PkgConfig::UTF8PROC$")
    list(APPEND requires libutf8proc)
  elseif(library MATCHES "^PkgConfig::ISAL$")
    list(APPEND requires libisal)
  elseif(library MATCHES "^PkgConfig::SENTENCEPIECE$")
    list(APPEND requires sentencepiece)
  elseif(library STREQUAL "Threads::Threads")
    string(APPEND libraries " -pthread")
  elseif(NOT library MATCHES "BUILD_INTERFACE|::")
    string(APPEND libraries " -l${library}") # ${CMAKE_DL_LIBS}
  elseif(NOT library MATCHES "BUILD_INTERFACE")
    message(FATAL_ERROR "mossrt_install.cmake: the pkg-config name of ${library} is missing")
  endif()
endforeach()
list(JOIN requires " " MOSSRT_PC_REQUIRES)
set(MOSSRT_PC_LIBS "${libraries}")
file(RELATIVE_PATH MOSSRT_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" MOSSRT_PC_PREFIX "${MOSSRT_PC_PREFIX}")
foreach(name mossrt mossrt-static)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT sdk)
endforeach()
