# The modules jax_siglib._ext_cuda, the CUDA kernels, and jax_siglib._cuda_on_host, the same
# kernels compiled for the CPU, which the tests run. Neither is needed by anything else.
if(JAX_SIGLIB_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(jax_siglib_cuda ON)
  else()
    set(jax_siglib_cuda OFF)
  endif()
else()
  set(jax_siglib_cuda ${JAX_SIGLIB_CUDA})
endif()
option(JAX_SIGLIB_CUDA_ON_HOST "Build the CUDA kernels for the CPU, for tests"
       ${jax_siglib_cuda})

option(JAX_SIGLIB_CUDA_WERROR "Treat warnings about these modules as errors"
       ${JAX_SIGLIB_WERROR})

set(jax_siglib_cuda_calls ffi/cuda/join_calls.cc ffi/cuda/path_calls.cc
                          ffi/cuda/combine_calls.cc ffi/cuda/running_calls.cc)
function(jax_siglib_cuda_options target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra>)
  if(JAX_SIGLIB_CUDA_WERROR)
    target_compile_options(
      ${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Werror>
                        "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
  endif()
endfunction()

if(JAX_SIGLIB_CUDA_ON_HOST)
  nanobind_add_module(_cuda_on_host NB_STATIC STABLE_ABI FREE_THREADED NOMINSIZE
                      ffi/cuda/host_bindings.cc ffi/cuda/on_host.cc ffi/cuda/ptx.cc
                      ffi/cuda/ptx_executor.cc ffi/cuda/ptx_machine.cc ${jax_siglib_cuda_calls})
  # Quick to compile rather than quick: it is for small sizes.
  target_compile_options(_cuda_on_host PRIVATE -Og)
  # It has millions of instructions to carry out.
  set_source_files_properties(ffi/cuda/ptx_machine.cc PROPERTIES COMPILE_OPTIONS -O2)
  jax_siglib_cuda_options(_cuda_on_host)
  if(JAX_SIGLIB_SANITIZE)
    target_compile_options(_cuda_on_host PRIVATE -fsanitize=${JAX_SIGLIB_SANITIZE}
                                                 -fno-omit-frame-pointer)
    target_link_options(_cuda_on_host PRIVATE -fsanitize=${JAX_SIGLIB_SANITIZE})
  endif()
  install(TARGETS _cuda_on_host LIBRARY DESTINATION jax_siglib)
endif()

if(NOT jax_siglib_cuda)
  message(STATUS "CUDA kernels: not built")
  return()
endif()

# Turing's instructions for the driver to translate, for that and for GPUs to come; Ampere's
# and Ada's, and Hopper's, ready made. A list of more is for those who make wheels.
set(JAX_SIGLIB_CUDA_ARCHITECTURES "75-virtual;80-real;90-real"
    CACHE STRING "As CMAKE_CUDA_ARCHITECTURES")
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES ${JAX_SIGLIB_CUDA_ARCHITECTURES})
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
enable_language(CUDA)
find_package(CUDAToolkit 12 REQUIRED)
message(STATUS "CUDA kernels: ${CMAKE_CUDA_COMPILER} for ${CMAKE_CUDA_ARCHITECTURES}")

# The runtime is linked in: nothing of CUDA but the driver is looked for when the module is
# loaded, and that not before it is used.
nanobind_add_module(
  _ext_cuda NB_STATIC STABLE_ABI FREE_THREADED NOMINSIZE ffi/cuda/bindings.cc
  ffi/cuda/handlers.cc ffi/cuda/stream.cc ${jax_siglib_cuda_calls})
target_include_directories(_ext_cuda SYSTEM PRIVATE "${XLA_FFI_INCLUDE_DIR}")
target_link_libraries(_ext_cuda PRIVATE CUDA::cudart_static)
string(REPLACE ";" ", " architectures "${CMAKE_CUDA_ARCHITECTURES}")
target_compile_definitions(_ext_cuda
                           PRIVATE "JAX_SIGLIB_CUDA_ARCHITECTURES=\"${architectures}\"")
target_compile_options(_ext_cuda PRIVATE -O2)
jax_siglib_cuda_options(_ext_cuda)

# A file of kernels, for a type of numbers.
function(jax_siglib_cuda_kernels file type)
  set(target cuda_${file}_${type})
  add_library(${target} OBJECT ffi/cuda/${file}.cu)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON
                                             CUDA_VISIBILITY_PRESET hidden)
  target_compile_definitions(${target} PRIVATE JAX_SIGLIB_STORAGE=${type})
  jax_siglib_cuda_options(${target})
  target_sources(_ext_cuda PRIVATE $<TARGET_OBJECTS:${target}>)
endfunction()
foreach(type IN ITEMS float double)
  jax_siglib_cuda_kernels(branch_kernels ${type})
endforeach()
foreach(type IN ITEMS float double Float16 BFloat16)
  jax_siglib_cuda_kernels(kernels ${type})
  jax_siglib_cuda_kernels(roots_kernels ${type})
endforeach()
install(TARGETS _ext_cuda LIBRARY DESTINATION jax_siglib)
