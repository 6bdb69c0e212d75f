// .npz files, one a request, whose member routed_experts has [tokens, layers, k].
#include "base/mem.h"
#include "traces/import_encodings.h"
#include "traces/importer.h"
#include "traces/zip.h"

#include <stdlib.h>
#include <string.h>

static bool recognise_npz(const struct import_def *def, const struct input *input)
{
    (void)def;
    return input->file.length > 4 && !memcmp(input->file.bytes, "PK\3\4", 4) &&
           !memmem(input->file.bytes, input->file.length, "data.pkl", 8);
}

// routed_experts, or the only array there is.
static const struct zip_member *find_array(const struct zip *zip, struct error *err)
{
    const struct zip_member *member = zip_find(zip, "routed_experts.npy");
    if (!member && zip->count == 1)
        member = &zip->members[0];
    if (!member)
        error_set(err, EXIT_INPUT, "%s: no array routed_experts, and %zu others", zip->name,
                  zip->count);
    return member;
}

static bool read_member(struct import *import, const struct zip *zip, struct error *err)
{
    const unsigned char *bytes;
    void *owned;
    const struct zip_member *member = find_array(zip, err);
    if (!member || !zip_read(zip, member, &bytes, &owned, err))
        return false;
    if (owned)
        import_own(import, owned);
    char *name = mem_format("%s: %s", zip->name, member->name);
    bool ok = npy_begins(bytes, member->bytes);
    if (ok)
        ok = import_add_bytes(import, name, bytes, member->bytes, err);
    else
        error_set(err, EXIT_INPUT, "%s: not a .npy file", name);
    free(name);
    return ok;
}

static bool read_npz(struct import *import, const struct input *input, struct error *err)
{
    struct zip zip;
    if (!zip_open(&zip, input->path, input->file.bytes, input->file.length, err))
        return false;
    const bool ok = read_member(import, &zip, err);
    zip_release(&zip);
    return ok;
}

const struct importer importer_npz = {"NumPy archive", recognise_npz, read_npz};
