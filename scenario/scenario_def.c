#include "scenario/scenario_def.h"

struct scenario_def scenario_def_default(void)
{
    return (struct scenario_def){
        .cluster = "h800-cx7", .layout = "contiguous", .routing = ROUTING_V3, .seed = 1};
}
