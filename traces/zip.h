// ZIP archives as NumPy's savez and savez_compressed write them, read in memory: what .npz is.
#ifndef TRACES_ZIP_H
#define TRACES_ZIP_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct zip_member {
    char *name;
    uint64_t offset; // of its local header
    uint64_t stored; // bytes in the archive
    uint64_t bytes;  // uncompressed
    uint32_t crc;
    bool deflated;
};

struct zip {
    const char *name; // for messages
    const unsigned char *bytes;
    size_t length;
    struct zip_member *members;
    size_t count;
};

// The most that one deflated member may grow to.
#define ZIP_LIMIT ((uint64_t)4 << 30)

// Reads the directory of the archive (ZIP64 too); the bytes must outlive it. Refuses (EXIT_INPUT,
// "name: ...", offsets in bytes) what is no archive, a directory that lies outside it, encrypted
// members, other methods than stored and deflate, and more than 65,536 members.
bool zip_open(struct zip *zip, const char *name, const void *bytes, size_t length,
              struct error *err);
void zip_release(struct zip *zip);

const struct zip_member *zip_find(const struct zip *zip, const char *name);

// A member's bytes: stored ones stay where they are (*owned NULL), deflated ones are in fresh
// memory (*owned, freed by the caller). Refuses a member outside the archive, broken data, a wrong
// length and a wrong CRC.
bool zip_read(const struct zip *zip, const struct zip_member *member, const unsigned char **bytes,
              void **owned, struct error *err);

// A member's first *count bytes, for which there is room; fewer where it has no more (*count says).
// Checks no more than that the archive holds them.
bool zip_read_start(const struct zip *zip, const struct zip_member *member, unsigned char *bytes,
                    size_t *count, struct error *err);

#endif
