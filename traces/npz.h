// A NumPy array in an archive (.npz). Its own header is read before its data are unpacked, so that
// an archive that claims more than the array has takes no memory.
#ifndef TRACES_NPZ_H
#define TRACES_NPZ_H

#include "base/formats/npy.h"
#include "traces/zip.h"

// The array's type and shape without its data. Refuses (EXIT_INPUT, "archive: member: ...") what is
// no .npy file, and a member of another length than its header says.
bool npz_open(struct npy *array, const struct zip *zip, const struct zip_member *member,
              struct error *err);

// Then its data. Those that were deflated come into fresh memory (*owned, else NULL), which must
// outlive the array, as the archive must.
bool npz_read(struct npy *array, const struct zip *zip, const struct zip_member *member,
              void **owned, struct error *err);

#endif
