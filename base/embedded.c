#include "base/embedded.h"

#ifndef EPSIM_VERSION
#define EPSIM_VERSION "unknown"
#endif

const char *version(void)
{
    return EPSIM_VERSION;
}
