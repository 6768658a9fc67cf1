// The kernels of one instruction set, after its vector type: a line of the table for each function, and what is no function's.
#pragma once
#include "few_rows.h"
#include "loops.h"
#include "panels.h"

#define GATEWISE_THREE(op, ...)                                                                       \
    {                                                                                                 \
        run<Brain, op<__VA_ARGS__, Level::coarse>>, run<Single, op<__VA_ARGS__, Level::standard>>,    \
            run<Single, op<__VA_ARGS__, Level::high>>                                                 \
    }
#define GATEWISE_FUNCTION(forward, backward, ...)                                                     \
    {                                                                                                 \
        {GATEWISE_THREE(forward, __VA_ARGS__), GATEWISE_THREE(backward, __VA_ARGS__)}, {              \
            panel_hidden<forward<__VA_ARGS__, Level::standard>>,                                      \
                panel_hidden<forward<__VA_ARGS__, Level::high>>                                       \
        }                                                                                             \
    }
#define SCALAR(name, formula) GATEWISE_FUNCTION(ScalarForward, ScalarBackward, formula),
#define GATE(name, formula, clamp) GATEWISE_FUNCTION(GateForward, GateBackward, formula, clamp),
#define GATEWISE_OTHERS \
    {few_rows<BrainOperand>, few_rows<SingleOperand>}, {panel_rows, panel_size, panel_tiles, panel_weights, PANEL, Float::width, TILE, TILES, 1}
