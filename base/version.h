// The version that every output carries; set by the Makefile from git, or "unknown".
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

const char *version(void);

#endif
