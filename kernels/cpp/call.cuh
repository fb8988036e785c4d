// How XLA calls a CUDA kernel, and what its twin needs: XLA's FFI in plain C, which nvcc reads in no time.
//
// A kernel is written as regions between barriers: `each_thread(f)` calls f(thread) for the threads of a block and then waits for
// all. Under g++ this file makes a twin of it: loops in the place of threads and blocks, called by XLA on CPUs.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "xla/ffi/api/c_api.h"

#if defined(__CUDACC__)
#define DEVICE __device__ __forceinline__
#else
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define DEVICE inline
typedef void* cudaStream_t;
struct Index { unsigned x; };
static thread_local Index blockIdx, gridDim;
constexpr Index threadIdx{0};
#endif

namespace dist_sim {

#if defined(__CUDACC__)
template <int THREADS, class F>
DEVICE void each_thread(F&& f) {
  f(int(threadIdx.x));
  __syncthreads();
}
template <class T>
DEVICE void add(T* to, T x) {
  if constexpr (sizeof(T) == 8) atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(x));
  else atomicAdd(to, x);
}
DEVICE uint32_t ones(uint32_t word) { return uint32_t(__popc(word)); }
DEVICE int lowest(uint32_t word) { return __ffs(int(word)) - 1; }
#define LAUNCH(kernel, blocks, threads, stream, ...) kernel<<<unsigned(blocks), threads, 0, stream>>>(__VA_ARGS__)
inline const char* launched() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
inline void clear(void* at, int64_t bytes, cudaStream_t stream) { cudaMemsetAsync(at, 0, size_t(bytes), stream); }
#else
template <int THREADS, class F>
void each_thread(F&& f) {
  for (int t = 0; t < THREADS; ++t) f(t);
}
template <class T>
void add(T* to, T x) { *to = T(std::make_unsigned_t<T>(*to) + std::make_unsigned_t<T>(x)); }
inline uint32_t ones(uint32_t word) { return uint32_t(__builtin_popcount(word)); }
inline int lowest(uint32_t word) { return __builtin_ctz(word); }
#define LAUNCH(kernel, blocks, threads, stream, ...)                                                     \
  do {                                                                                                   \
    gridDim.x = unsigned(blocks);                                                                        \
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) kernel(__VA_ARGS__);                      \
  } while (0)
inline const char* launched() { return nullptr; }
inline void clear(void* at, int64_t bytes, cudaStream_t) { std::memset(at, 0, size_t(bytes)); }
#endif

// Inclusive sums over the threads of a block, in place; `spare` is as long. The sums lie in the array that is returned.
template <int THREADS, class T>
DEVICE T* scan(T* sums, T* spare) {
  for (int reach = 1; reach < THREADS; reach *= 2) {
    each_thread<THREADS>([&](int t) { spare[t] = t >= reach ? T(sums[t] + sums[t - reach]) : sums[t]; });
    T* const done = spare;
    spare = sums;
    sums = done;
  }
  return sums;
}

// One call by XLA: operands, results and attributes of a kernel, in the order of the Python call.
struct Call {
  const XLA_FFI_CallFrame* frame;
  cudaStream_t stream;
  const char* problem = nullptr;

  const XLA_FFI_Buffer& operand(int k) const { return *static_cast<const XLA_FFI_Buffer*>(frame->args.args[k]); }
  const XLA_FFI_Buffer& result(int k) const { return *static_cast<const XLA_FFI_Buffer*>(frame->rets.rets[k]); }
  template <class T> const T* in(int k) const { return static_cast<const T*>(operand(k).data); }
  template <class T> T* out(int k) const { return static_cast<T*>(result(k).data); }
  int64_t dim(int k, int axis) const { return operand(k).dims[axis]; }
  static int64_t size(const XLA_FFI_Buffer& b) {
    int64_t n = 1;
    for (int64_t axis = 0; axis < b.rank; ++axis) n *= b.dims[axis];
    return n;
  }
  int64_t size(int k) const { return size(operand(k)); }
  bool wide(int k) const { return operand(k).dtype == XLA_FFI_DataType_S64; }

  // A result that is the buffer of an operand.
  template <class T>
  T* in_place(int operand_number, int result_number) {
    const XLA_FFI_Buffer &given = operand(operand_number), &made = result(result_number);
    if (given.data != made.data && size(given) > 0) problem = "an operand that is changed in place was copied";
    return static_cast<T*>(made.data);
  }
  int64_t attribute(const char* name) {
    for (int64_t k = 0; k < frame->attrs.size; ++k) {
      const XLA_FFI_ByteSpan& known = *frame->attrs.names[k];
      if (known.len != std::strlen(name) || std::memcmp(known.ptr, name, known.len) != 0) continue;
      const XLA_FFI_Scalar& scalar = *static_cast<const XLA_FFI_Scalar*>(frame->attrs.attrs[k]);
      if (scalar.dtype == XLA_FFI_DataType_S64) return *static_cast<const int64_t*>(scalar.value);
      if (scalar.dtype == XLA_FFI_DataType_U32) return *static_cast<const uint32_t*>(scalar.value);
    }
    problem = name;
    return 0;
  }
};

inline XLA_FFI_Error* failure(const XLA_FFI_CallFrame* frame, const char* name, const char* problem) {
  char message[256];
  std::snprintf(message, sizeof(message), "dist_sim.cuda.%s: %s", name, problem);
  XLA_FFI_Error_Create_Args args{};
  args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
  args.message = message;
  args.errc = XLA_FFI_Error_Code_INTERNAL;
  return frame->api->XLA_FFI_Error_Create(&args);
}

// A handler launches the same kernels at every call, with no wait and no memory of its own: it may go into a command buffer.
template <class F>
XLA_FFI_Error* handle(XLA_FFI_CallFrame* frame, const char* name, F&& launch) {
  for (XLA_FFI_Extension_Base* e = frame->extension_start; e; e = e->next) {
    if (e->type != XLA_FFI_Extension_Metadata) continue;
    XLA_FFI_Metadata* metadata = reinterpret_cast<XLA_FFI_Metadata_Extension*>(e)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    metadata->traits = XLA_FFI_HANDLER_TRAITS_COMMAND_BUFFER_COMPATIBLE;
    return nullptr;
  }
  if (frame->stage != XLA_FFI_ExecutionStage_EXECUTE) return nullptr;
  Call call{frame, nullptr};
#if defined(__CUDACC__)
  XLA_FFI_Stream_Get_Args stream{};
  stream.struct_size = XLA_FFI_Stream_Get_Args_STRUCT_SIZE;
  stream.ctx = frame->ctx;
  if (XLA_FFI_Error* error = frame->api->XLA_FFI_Stream_Get(&stream)) return error;
  call.stream = static_cast<cudaStream_t>(stream.stream);
#endif
  launch(call);
  if (!call.problem) call.problem = launched();
  return call.problem ? failure(frame, name, call.problem) : nullptr;
}

// `TARGET(name, body)`: the FFI target of that name; the body has `call`.
#define TARGET(name, ...)                                                                       \
  extern "C" XLA_FFI_Error* name(XLA_FFI_CallFrame* frame) {                                    \
    return dist_sim::handle(frame, #name, [](dist_sim::Call& call) __VA_ARGS__);                \
  }

}  // namespace dist_sim
