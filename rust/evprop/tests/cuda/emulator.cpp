// A libcuda that runs evprop's kernels on the CPU: for tests, where there is no GPU.
//
// Device memory is the host's. A block is as many fibres as it has threads, one of which runs until it meets a barrier;
// so a result that depends on the order of threads between barriers shows when that order is changed
// (EVPROP_EMULATOR_ORDER=descending). A barrier that not all threads of a block meet fails the launch.
//
// What a stream is asked for is done at once, or, with EVPROP_EMULATOR_STREAMS=late, when the stream is waited for and not
// before: a launch or a copy that relies on another stream, or on host memory that has gone, then finds other values.
//
// EVPROP_EMULATOR makes it misbehave like drivers do: old_driver, no_device, out_of_memory, refused_ptx, failed_launch,
// failed_run; or have less than they may: no_pools, no_pinned. EVPROP_EMULATOR_DEVICES: how many devices, 1 if not set.
// Built with -DWITHOUT_LAUNCH it lacks a symbol.
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

// -- the language ---------------------------------------------------------------------------------------------------

struct Index {
    unsigned x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

#define __device__
#define __global__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(most)

static void barrier();
#define __syncthreads() barrier()

template <class To, class From> static To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
static long long __double_as_longlong(double x) { return bits<long long>(x); }
static double __longlong_as_double(long long x) { return bits<double>(x); }
static unsigned __float_as_uint(float x) { return bits<unsigned>(x); }
static float __uint_as_float(unsigned x) { return bits<float>(x); }

#include "kernels.cu"

// -- blocks as fibres -----------------------------------------------------------------------------------------------

struct Kernel {
    const char* name;
    size_t bytes;  // of its argument
    void (*run)(const void* args);
};

static const Kernel KERNELS[] = {
#define KERNEL(name, args) {#name, sizeof(evprop::args), [](const void* a) { name(*static_cast<const evprop::args*>(a)); }}
    KERNEL(evprop_forward_f32, ForwardArgs<float>),
    KERNEL(evprop_forward_f64, ForwardArgs<double>),
    KERNEL(evprop_keep_f32, KeepArgs<float>),
    KERNEL(evprop_keep_f64, KeepArgs<double>),
    KERNEL(evprop_own_f32, OwnArgs<float>),
    KERNEL(evprop_own_f64, OwnArgs<double>),
    KERNEL(evprop_readout_f32, ReadoutArgs<float>),
    KERNEL(evprop_readout_f64, ReadoutArgs<double>),
    KERNEL(evprop_backward_f32, BackwardArgs<float>),
    KERNEL(evprop_backward_f64, BackwardArgs<double>),
    KERNEL(evprop_total_f32, TotalArgs<float>),
    KERNEL(evprop_total_f64, TotalArgs<double>),
    KERNEL(evprop_step_f32, StepArgs<float>),
    KERNEL(evprop_step_f64, StepArgs<double>),
    KERNEL(evprop_finish_f32, StepArgs<float>),
    KERNEL(evprop_finish_f64, StepArgs<double>),
    KERNEL(evprop_norm_f32, NormArgs<float>),
    KERNEL(evprop_norm_f64, NormArgs<double>),
    KERNEL(evprop_bound_f32, BoundArgs<float>),
    KERNEL(evprop_bound_f64, BoundArgs<double>),
    KERNEL(evprop_longest_f32, LongestArgs<float>),
    KERNEL(evprop_longest_f64, LongestArgs<double>),
};

static ucontext_t scheduler;
static ucontext_t* running;
static const Kernel* kernel;
static const void* arguments;

static void barrier() {
    ucontext_t* me = running;
    unsigned thread = threadIdx.x;
    swapcontext(me, &scheduler);
    running = me;
    threadIdx.x = thread;
}

static std::vector<char>* finished;

static void body(unsigned thread) {
    kernel->run(arguments);
    (*finished)[thread] = 1;
}

[[maybe_unused]] static bool run_block(unsigned threads) {
    const size_t STACK = 128 << 10;
    static std::vector<std::unique_ptr<char[]>> stacks(evprop::MOST_THREADS);
    std::vector<ucontext_t> fibres(threads);
    std::vector<char> done(threads, 0);
    finished = &done;
    for (unsigned t = 0; t < threads; ++t) {
        if (!stacks[t]) {
            stacks[t].reset(new char[STACK]);
        }
        getcontext(&fibres[t]);
        fibres[t].uc_stack.ss_sp = stacks[t].get();
        fibres[t].uc_stack.ss_size = STACK;
        fibres[t].uc_link = &scheduler;
        makecontext(&fibres[t], reinterpret_cast<void (*)()>(body), 1, t);
    }
    const char* order = std::getenv("EVPROP_EMULATOR_ORDER");
    bool descending = order && !std::strcmp(order, "descending");
    for (;;) {
        unsigned ended = 0;
        for (unsigned k = 0; k < threads; ++k) {
            unsigned t = descending ? threads - 1 - k : k;
            threadIdx.x = t;
            running = &fibres[t];
            swapcontext(&scheduler, &fibres[t]);
            ended += done[t];
        }
        if (ended == threads) {
            return true;
        }
        if (ended) {
            std::fprintf(stderr, "emulator: %u of %u threads ended while others wait at a barrier\n", ended, threads);
            return false;
        }
    }
}

// -- the driver -----------------------------------------------------------------------------------------------------

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_PTX = 218, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

static bool mode(const char* name) {
    const char* given = std::getenv("EVPROP_EMULATOR");
    return given && !std::strcmp(given, name);
}

// Drivers may be called from several threads; blocks run one at a time here.
static std::recursive_mutex one_at_a_time;
static size_t in_use, launches, fetched;
static const size_t TOTAL = size_t(4) << 30;

struct Stream {
    std::vector<std::function<bool()>> waiting;
    bool failed = false;
};

static std::vector<Stream*> streams;

static bool finish(Stream* stream) {
    std::vector<std::function<bool()>> now;
    now.swap(stream->waiting);
    for (auto& one : now) {
        stream->failed |= !one();
    }
    return !stream->failed;
}

static int ask(void* handle, std::function<bool()> what) {
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    Stream* stream = static_cast<Stream*>(handle);
    stream->waiting.push_back(std::move(what));
    const char* order = std::getenv("EVPROP_EMULATOR_STREAMS");
    if (!order || std::strcmp(order, "late")) {
        finish(stream);
    }
    return SUCCESS;
}

static int take(unsigned long long* pointer, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    if (mode("out_of_memory") || in_use + bytes > TOTAL || in_use + bytes < bytes) {
        return OUT_OF_MEMORY;
    }
    // A driver gives memory that holds anything; the size stands in front.
    size_t* block = static_cast<size_t*>(std::malloc(bytes + 16));
    block[0] = bytes;
    std::memset(block + 2, 0xa5, bytes);
    in_use += bytes;
    *pointer = reinterpret_cast<unsigned long long>(block + 2);
    return SUCCESS;
}

static bool give_back(unsigned long long pointer) {
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    size_t* block = reinterpret_cast<size_t*>(pointer) - 2;
    in_use -= block[0];
    std::memset(block + 2, 0xa5, block[0]);
    std::free(block);
    return true;
}

static int devices() {
    const char* given = std::getenv("EVPROP_EMULATOR_DEVICES");
    return given ? std::atoi(given) : 1;
}

extern "C" {

int cuInit(unsigned) { return mode("no_device") ? NO_DEVICE : SUCCESS; }
int cuDriverGetVersion(int* version) {
    *version = mode("old_driver") ? 10020 : 12010;
    return SUCCESS;
}
int cuDeviceGetCount(int* count) {
    *count = devices();
    return SUCCESS;
}
int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return ordinal < devices() ? SUCCESS : 101;
}
int cuDeviceGetName(char* name, int length, int device) {
    std::snprintf(name, length, device ? "emulated on the CPU (%d)" : "emulated on the CPU", device);
    return SUCCESS;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute == 75 ? (mode("old_device") ? 6 : 7) : 0;  // 75, 76: compute capability
    *value = attribute == 115 ? !mode("no_pools") : *value;
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void** context, int) {
    static int one;
    *context = &one;
    return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void*) { return SUCCESS; }

int cuDeviceGetDefaultMemPool(void** pool, int) {
    static int one;
    *pool = &one;
    return SUCCESS;
}
int cuMemPoolSetAttribute(void*, int, void*) { return SUCCESS; }
int cuMemPoolGetAttribute(void*, int, void* value) {
    *static_cast<unsigned long long*>(value) = in_use;
    return SUCCESS;
}

int cuModuleLoadData(void** module, const void* image) {
    if (mode("refused_ptx") || !std::strstr(static_cast<const char*>(image), "evprop_forward_f64")) {
        return INVALID_PTX;
    }
    static int one;
    *module = &one;
    return SUCCESS;
}
int cuModuleUnload(void*) { return SUCCESS; }
int cuModuleGetFunction(void** function, void*, const char* name) {
    for (const Kernel& k : KERNELS) {
        if (!std::strcmp(k.name, name)) {
            *function = const_cast<Kernel*>(&k);
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

int cuStreamCreate(void** stream, unsigned) {
    streams.push_back(new Stream);
    *stream = streams.back();
    return SUCCESS;
}
int cuStreamDestroy_v2(void*) { return SUCCESS; }
int cuStreamSynchronize(void* stream) {
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    return finish(static_cast<Stream*>(stream)) ? SUCCESS : LAUNCH_FAILED;
}

int cuMemGetInfo_v2(size_t* free, size_t* total) {
    *total = TOTAL;
    *free = TOTAL - in_use;
    return SUCCESS;
}
int cuMemAlloc_v2(unsigned long long* pointer, size_t bytes) { return take(pointer, bytes); }
int cuMemAllocAsync(unsigned long long* pointer, size_t bytes, void*) {
    return mode("no_pools") ? INVALID_VALUE : take(pointer, bytes);
}
int cuMemFree_v2(unsigned long long pointer) { return give_back(pointer) ? SUCCESS : INVALID_VALUE; }
int cuMemFreeAsync(unsigned long long pointer, void* stream) {
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    // A stream with nothing to do gives memory back at once, whatever others still do with it.
    if (static_cast<Stream*>(stream)->waiting.empty()) {
        return give_back(pointer) ? SUCCESS : INVALID_VALUE;
    }
    return ask(stream, [=] { return give_back(pointer); });
}
int cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    *pointer = mode("no_pinned") ? nullptr : std::malloc(bytes);
    return *pointer ? SUCCESS : OUT_OF_MEMORY;
}
int cuMemFreeHost(void* pointer) {
    std::free(pointer);
    return SUCCESS;
}
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t bytes, void* stream) {
    return ask(stream, [=] { return std::memcpy(reinterpret_cast<void*>(to), from, bytes) != nullptr; });
}
int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t bytes, void* stream) {
    fetched += bytes;
    return ask(stream, [=] { return std::memcpy(to, reinterpret_cast<void*>(from), bytes) != nullptr; });
}
int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void* stream) {
    return ask(stream, [=] { return std::memset(reinterpret_cast<void*>(to), value, bytes) != nullptr; });
}

#ifndef WITHOUT_LAUNCH
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned, void* stream, void** params, void**) {
    if (mode("failed_launch")) {
        return LAUNCH_FAILED;
    }
    if (gx == 0 || gy != 1 || gz != 1 || bx == 0 || bx > evprop::MOST_THREADS || by != 1 || bz != 1) {
        return INVALID_VALUE;
    }
    // The arguments are copied at once.
    const Kernel* asked = static_cast<const Kernel*>(function);
    std::vector<char> copy(static_cast<const char*>(params[0]), static_cast<const char*>(params[0]) + asked->bytes);
    return ask(stream, [=] {
        launches += 1;
        kernel = asked;
        arguments = copy.data();
        blockDim.x = bx;
        gridDim.x = gx;
        for (unsigned b = 0; b < gx; ++b) {
            blockIdx.x = b;
            if (mode("failed_run") || !run_block(bx)) {
                return false;
            }
        }
        return true;
    });
}
#endif

int cuGetErrorName(int error, const char** name) {
    switch (error) {
        case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
        case INVALID_PTX: *name = "CUDA_ERROR_INVALID_PTX"; break;
        case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
        default: *name = "CUDA_ERROR_UNKNOWN";
    }
    return SUCCESS;
}
int cuGetErrorString(int, const char** text) {
    *text = "as the emulator was told";
    return SUCCESS;
}

// How many bytes of device memory are in use when all streams have come to their end; how many kernels ran, and how many
// bytes were copied from the device.
size_t emulator_in_use() {
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    for (Stream* stream : streams) {
        finish(stream);
    }
    return in_use;
}
size_t emulator_launches() { return launches; }
size_t emulator_fetched() { return fetched; }
}
