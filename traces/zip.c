#include "traces/zip.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

// PKWARE's APPNOTE 6.3: local headers (4.3.7), the central directory (4.3.12) and its end (4.3.16),
// with the ZIP64 forms (4.3.14, 4.3.15, 4.5.3), all little-endian.
#define LOCAL_MAGIC 0x04034b50u
#define CENTRAL_MAGIC 0x02014b50u
#define END_MAGIC 0x06054b50u
#define END64_MAGIC 0x06064b50u
#define LOCATOR64_MAGIC 0x07064b50u
#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46
#define END_BYTES 22
#define END64_BYTES 56
#define LOCATOR64_BYTES 20
#define COMMENT_MAX 65535
#define MEMBERS_MAX 65536

static uint64_t little(const unsigned char *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static bool refuse_zip(const struct zip *zip, uint64_t at, struct error *err, const char *what)
{
    return error_set(err, EXIT_INPUT, "%s: byte %" PRIu64 ": %s", zip->name, at, what);
}

// Whether `bytes` of the archive are there at `at`.
static bool within(const struct zip *zip, uint64_t at, uint64_t bytes)
{
    return at <= zip->length && bytes <= zip->length - at;
}

struct directory {
    uint64_t offset, bytes, count;
};

// The end record is the last thing but for a comment; the last that fits is it.
static bool find_end(const struct zip *zip, uint64_t *end)
{
    if (zip->length < END_BYTES)
        return false;
    const size_t last = zip->length - END_BYTES;
    const size_t first = last > COMMENT_MAX ? last - COMMENT_MAX : 0;
    for (size_t at = last + 1; at-- > first;)
        if (little(zip->bytes + at, 4) == END_MAGIC &&
            little(zip->bytes + at + 20, 2) == zip->length - END_BYTES - at) {
            *end = at;
            return true;
        }
    return false;
}

static bool read_end64(const struct zip *zip, uint64_t end, struct directory *directory,
                       struct error *err)
{
    const uint64_t locator = end - LOCATOR64_BYTES;
    if (end < LOCATOR64_BYTES || little(zip->bytes + locator, 4) != LOCATOR64_MAGIC)
        return refuse_zip(zip, end, err, "a ZIP64 end without its locator");
    const uint64_t at = little(zip->bytes + locator + 8, 8);
    if (!within(zip, at, END64_BYTES) || little(zip->bytes + at, 4) != END64_MAGIC)
        return refuse_zip(zip, locator, err, "the ZIP64 end is not where its locator says");
    directory->count = little(zip->bytes + at + 32, 8);
    directory->bytes = little(zip->bytes + at + 40, 8);
    directory->offset = little(zip->bytes + at + 48, 8);
    return true;
}

static bool read_end(const struct zip *zip, struct directory *directory, struct error *err)
{
    uint64_t end;
    if (!find_end(zip, &end))
        return error_set(err, EXIT_INPUT, "%s: no end of a ZIP archive: truncated, or none",
                         zip->name);
    const unsigned char *at = zip->bytes + end;
    *directory = (struct directory){
        .offset = little(at + 16, 4), .bytes = little(at + 12, 4), .count = little(at + 10, 2)};
    if ((directory->offset == UINT32_MAX || directory->bytes == UINT32_MAX ||
         directory->count == UINT16_MAX) &&
        !read_end64(zip, end, directory, err))
        return false;
    if (!within(zip, directory->offset, directory->bytes))
        return refuse_zip(zip, end, err, "the directory lies outside the file");
    if (directory->count > MEMBERS_MAX)
        return refuse_zip(zip, end, err, "more than 65,536 members");
    return true;
}

// 64-bit values in the extra field stand for those that are all ones, in this order.
static void read_extra(struct zip_member *member, const unsigned char *extra, uint64_t bytes)
{
    uint64_t *const wide[] = {&member->bytes, &member->stored, &member->offset};
    for (uint64_t at = 0; at + 4 <= bytes;) {
        const uint64_t id = little(extra + at, 2), length = little(extra + at + 2, 2);
        at += 4;
        if (length > bytes - at)
            return;
        uint64_t used = 0;
        for (size_t i = 0; id == 1 && i < 3; i++)
            if (*wide[i] == UINT32_MAX && used + 8 <= length) {
                *wide[i] = little(extra + at + used, 8);
                used += 8;
            }
        at += length;
    }
}

// One entry of the directory at *at, which moves behind it.
static bool read_entry(struct zip *zip, uint64_t *at, uint64_t end, struct error *err)
{
    if (end - *at < CENTRAL_BYTES || little(zip->bytes + *at, 4) != CENTRAL_MAGIC)
        return refuse_zip(zip, *at, err, "expected an entry of the ZIP directory");
    const unsigned char *entry = zip->bytes + *at;
    const uint64_t flags = little(entry + 8, 2), method = little(entry + 10, 2);
    const uint64_t name = little(entry + 28, 2), extra = little(entry + 30, 2);
    const uint64_t whole = CENTRAL_BYTES + name + extra + little(entry + 32, 2);
    if (whole > end - *at)
        return refuse_zip(zip, *at, err, "an entry of the ZIP directory runs over its end");
    if (flags & 1)
        return refuse_zip(zip, *at, err, "an encrypted member");
    if (method != 0 && method != 8)
        return error_set(err, EXIT_INPUT,
                         "%s: byte %" PRIu64 ": compression method %" PRIu64
                         "; expected stored (0) or deflate (8)",
                         zip->name, *at, method);
    struct zip_member *member = &zip->members[zip->count++];
    *member = (struct zip_member){
        .name = mem_format("%.*s", (int)name, (const char *)entry + CENTRAL_BYTES),
        .offset = little(entry + 42, 4),
        .stored = little(entry + 20, 4),
        .bytes = little(entry + 24, 4),
        .crc = (uint32_t)little(entry + 16, 4),
        .deflated = method == 8};
    read_extra(member, entry + CENTRAL_BYTES + name, extra);
    *at += whole;
    return true;
}

bool zip_open(struct zip *zip, const char *name, const void *bytes, size_t length,
              struct error *err)
{
    struct directory directory = {0};
    *zip = (struct zip){.name = name, .bytes = bytes, .length = length};
    if (!read_end(zip, &directory, err))
        return false;
    zip->members = mem_alloc(directory.count, sizeof *zip->members);
    uint64_t at = directory.offset;
    const uint64_t end = directory.offset + directory.bytes;
    for (uint64_t i = 0; i < directory.count; i++)
        if (!read_entry(zip, &at, end, err)) {
            zip_release(zip);
            return false;
        }
    return true;
}

void zip_release(struct zip *zip)
{
    for (size_t i = 0; i < zip->count; i++)
        free(zip->members[i].name);
    free(zip->members);
    *zip = (struct zip){0};
}

const struct zip_member *zip_find(const struct zip *zip, const char *name)
{
    for (size_t i = 0; i < zip->count; i++)
        if (!strcmp(zip->members[i].name, name))
            return &zip->members[i];
    return NULL;
}

// Raw deflate into memory of the stated size. Deflate grows at most 1,032 times (zlib's own bound),
// so a length that the stored bytes cannot make is refused before memory is taken.
static bool inflate_member(const struct zip *zip, const struct zip_member *member,
                           const unsigned char *from, void **owned, struct error *err)
{
    if (member->bytes > ZIP_LIMIT || member->bytes / 1032 > member->stored)
        return error_set(err, EXIT_INPUT,
                         "%s: %s: %" PRIu64 " bytes from %" PRIu64 " deflated: expected at most "
                         "1,032 times as many, and 4 GiB",
                         zip->name, member->name, member->bytes, member->stored);
    z_stream stream = {0};
    *owned = mem_alloc(member->bytes, 1);
    // zlib counts in 32 bits: both sides go in parts.
    uint64_t in = member->stored, out = member->bytes;
    stream.next_in = (Bytef *)(uintptr_t)from;
    stream.next_out = *owned;
    int state = inflateInit2(&stream, -MAX_WBITS);
    while (state == Z_OK) {
        const uInt in_part = (uInt)(in < UINT32_MAX ? in : UINT32_MAX);
        const uInt out_part = (uInt)(out < UINT32_MAX ? out : UINT32_MAX);
        stream.avail_in = in_part;
        stream.avail_out = out_part;
        state = inflate(&stream, Z_NO_FLUSH);
        in -= in_part - stream.avail_in;
        out -= out_part - stream.avail_out;
    }
    inflateEnd(&stream);
    return (state == Z_STREAM_END && out == 0) ||
           error_set(err, EXIT_INPUT, "%s: %s: broken deflate data", zip->name, member->name);
}

static bool check_crc(const struct zip *zip, const struct zip_member *member,
                      const unsigned char *bytes, struct error *err)
{
    const uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, member->bytes);
    return crc == member->crc ||
           error_set(err, EXIT_INPUT, "%s: %s: CRC %08" PRIx32 "; the archive says %08" PRIx32,
                     zip->name, member->name, crc, member->crc);
}

static bool find_data(const struct zip *zip, const struct zip_member *member, uint64_t *data,
                      struct error *err)
{
    if (!within(zip, member->offset, LOCAL_BYTES) ||
        little(zip->bytes + member->offset, 4) != LOCAL_MAGIC)
        return refuse_zip(zip, member->offset, err, "expected a member's own header");
    const unsigned char *local = zip->bytes + member->offset;
    *data = member->offset + LOCAL_BYTES + little(local + 26, 2) + little(local + 28, 2);
    if (!within(zip, *data, member->stored))
        return refuse_zip(zip, member->offset, err, "a member runs over the end of the file");
    if (!member->deflated && member->stored != member->bytes)
        return refuse_zip(zip, member->offset, err, "a stored member of two lengths");
    return true;
}

bool zip_read(const struct zip *zip, const struct zip_member *member, const unsigned char **bytes,
              void **owned, struct error *err)
{
    uint64_t data = 0;
    *owned = NULL;
    if (!find_data(zip, member, &data, err))
        return false;
    *bytes = zip->bytes + data;
    bool ok = true;
    if (member->deflated) {
        ok = inflate_member(zip, member, *bytes, owned, err);
        *bytes = *owned;
    }
    ok = ok && check_crc(zip, member, *bytes, err);
    if (!ok) {
        free(*owned);
        *owned = NULL;
    }
    return ok;
}

static bool inflate_start(const struct zip *zip, const struct zip_member *member,
                          const unsigned char *from, unsigned char *bytes, size_t *count,
                          struct error *err)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)from,
                       .avail_in =
                           (uInt)(member->stored < UINT32_MAX ? member->stored : UINT32_MAX),
                       .next_out = bytes,
                       .avail_out = (uInt)*count};
    int state = inflateInit2(&stream, -MAX_WBITS);
    while (state == Z_OK && stream.avail_out > 0)
        state = inflate(&stream, Z_NO_FLUSH);
    inflateEnd(&stream);
    *count -= stream.avail_out;
    return state == Z_OK || state == Z_STREAM_END ||
           error_set(err, EXIT_INPUT, "%s: %s: broken deflate data", zip->name, member->name);
}

bool zip_read_start(const struct zip *zip, const struct zip_member *member, unsigned char *bytes,
                    size_t *count, struct error *err)
{
    uint64_t data = 0;
    if (!find_data(zip, member, &data, err))
        return false;
    if (member->deflated)
        return inflate_start(zip, member, zip->bytes + data, bytes, count, err);
    *count = member->bytes < *count ? (size_t)member->bytes : *count;
    memcpy(bytes, zip->bytes + data, *count);
    return true;
}
