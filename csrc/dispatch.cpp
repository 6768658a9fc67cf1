#include "dispatch.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace gatewise {

const char* const function_names[num_functions] = {
#define SCALAR(name, formula) #name,
#define GATE(name, formula, clamp) #name,
#include "functions.def"
#undef SCALAR
#undef GATE
};
const bool function_is_gate[num_functions] = {
#define SCALAR(name, formula) false,
#define GATE(name, formula, clamp) true,
#include "functions.def"
#undef SCALAR
#undef GATE
};

namespace {

// Best first.
const InstructionSet sets[] = {
#if defined(__x86_64__)
    {"avx512", &kernels_avx512},
    {"avx2", &kernels_avx2},
#endif
    {"plain", &kernels_plain},
};
constexpr int num_sets = sizeof(sets) / sizeof(sets[0]);

#if defined(__x86_64__)
// Not __builtin_cpu_supports: it needs a compiler's run-time library that knows the machine, and one (zig's) does not.
struct Machine {
    bool avx2 = false, avx512 = false, amx = false;
    Machine() {
        unsigned a, b, c, d, low, high;
        if (!__get_cpuid(1, &a, &b, &c, &d)) return;
        const bool saved = c & (1u << 27), fma = c & (1u << 12), avx = c & (1u << 28);
        if (!saved || !avx || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // what the system keeps across a switch
        avx2 = fma && (b & (1u << 5)) && (low & 0x06) == 0x06;
        const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
        avx512 = avx2 && (b & f_dq_bw_vl) == f_dq_bw_vl && (low & 0xe6) == 0xe6;
        const unsigned bf16_tile = 1u << 22 | 1u << 24;
        amx = avx512 && (d & bf16_tile) == bf16_tile && (low & 0x60000) == 0x60000;
        const bool converts = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
        amx = amx && converts;
    }
};
#endif

bool available(const char* name) {
#if defined(__x86_64__)
    static const Machine machine;
    if (!strcmp(name, "amx")) return machine.amx;
    if (!strcmp(name, "avx512")) return machine.avx512;
    if (!strcmp(name, "avx2")) return machine.avx2;
#endif
    return !strcmp(name, "plain");
}

const InstructionSet* named(const char* name) {
    for (const InstructionSet& set : sets)
        if (!strcmp(set.name, name) && available(name)) return &set;
    return nullptr;
}

const InstructionSet* chosen() {
    const char* wanted = getenv("GATEWISE_ISA");
    if (const InstructionSet* set = wanted ? named(wanted) : nullptr) return set;
    for (const InstructionSet& set : sets)
        if (available(set.name)) return &set;
    return &sets[num_sets - 1];
}

const InstructionSet* in_use = chosen();

#if defined(GATEWISE_AMX)
// Linux keeps the tiles' state only for a process that asks for it: ARCH_REQ_XCOMP_PERM of XTILEDATA. It is asked when tiles are,
// for it changes the process: signal stacks have to be larger from then on.
bool tiles_allowed() {
#if defined(__linux__)
    static const bool allowed = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
    return allowed;
#else
    return false;
#endif
}
#endif

}  // namespace

const InstructionSet& current() { return *in_use; }

const TilePanels* tile_panels() {
#if defined(GATEWISE_AMX)
    if (in_use->kernels == &kernels_avx512 && available("amx") && tiles_allowed()) return &panels_amx;
#endif
    return nullptr;
}

const PanelKernels* panels_of(int precision) {
    if (precision == float32 || precision == float32_high) return &in_use->kernels->panels;
    const TilePanels* const found = tile_panels();
    return !found ? nullptr : precision == bfloat16 ? &found->panels : &found->split;
}

PanelKernel hidden_kernel(int function, int precision) {
    if (precision == float32 || precision == float32_high)
        return in_use->kernels->of[function].hidden[precision == float32_high];
    const TilePanels* const found = tile_panels();
    if (!found) return nullptr;
    return precision == bfloat16 ? found->hidden[function] : found->split_hidden[function][precision == float32_split_high];
}

}  // namespace gatewise

// For tests and reports, through ctypes.
#define GATEWISE_EXPORT extern "C" __attribute__((visibility("default")))

// Raised with every change to what Python calls or to the operators that are registered.
GATEWISE_EXPORT int gatewise_interface() { return 9; }

GATEWISE_EXPORT const char* gatewise_isa() { return gatewise::current().name; }

// False where the machine does not have it.
GATEWISE_EXPORT bool gatewise_use_isa(const char* name) {
    const gatewise::InstructionSet* set = gatewise::named(name);
    if (set) gatewise::in_use = set;
    return set != nullptr;
}
GATEWISE_EXPORT int gatewise_num_functions() { return gatewise::num_functions; }
GATEWISE_EXPORT const char* gatewise_function_name(int i) { return gatewise::function_names[i]; }
GATEWISE_EXPORT bool gatewise_function_is_gate(int i) { return gatewise::function_is_gate[i]; }
GATEWISE_EXPORT void gatewise_run(int function, int direction, int precision, const gatewise::Call* call, int64_t begin,
                                  int64_t end) {
    gatewise::current().kernels->of[function].kernel[direction][precision](*call, begin, end);
}
// False where the instruction set in use has no panels of this precision; else a panel's outputs, and of a product's left side
// the inputs in a group, the rows in a tile at most and, of one that has so many inputs, the numbers in a panel.
GATEWISE_EXPORT bool gatewise_panels(int precision, int64_t cols, int64_t* outputs, int64_t* group, int64_t* tile,
                                     int64_t* size) {
    const gatewise::PanelKernels* panels = gatewise::panels_of(precision);
    if (!panels) return false;
    *outputs = panels->outputs, *group = panels->group, *tile = panels->tile, *size = panels->size(cols);
    return true;
}
// These four for a precision that has panels.
GATEWISE_EXPORT void gatewise_to_tiles(int precision, const gatewise::PanelRows* rows, int64_t begin, int64_t end) {
    gatewise::panels_of(precision)->to_tiles(*rows, begin, end);
}
GATEWISE_EXPORT void gatewise_to_panels(int precision, const gatewise::PanelWeights* weights, int64_t begin, int64_t end) {
    gatewise::panels_of(precision)->to_panels(*weights, begin, end);
}
GATEWISE_EXPORT void gatewise_panel_rows(int precision, const gatewise::PanelProduct* product, int64_t begin, int64_t end) {
    gatewise::panels_of(precision)->rows(*product, begin, end);
}
GATEWISE_EXPORT void gatewise_panel_hidden(int function, int precision, const gatewise::PanelProduct* product,
                                           int64_t begin, int64_t end) {
    gatewise::hidden_kernel(function, precision)(*product, begin, end);
}
GATEWISE_EXPORT void gatewise_few_rows(int precision, const gatewise::Product* product, int64_t begin, int64_t end) {
    gatewise::current().kernels->few_rows[precision != gatewise::bfloat16](*product, begin, end);
}
