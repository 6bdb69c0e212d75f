// What libraries on NCCL need of the NCCL transport beyond its table.
#ifndef REAL_NCCL_H
#define REAL_NCCL_H

#include "real/transport.h"

#include <nccl.h>

// A communicator of all ranks whose calls wait inside NCCL. Made at the first call, which is
// collective; it goes with the transport. NULL when that fails.
ncclComm_t nccl_communicator(struct transport *transport, struct error *err);

#endif
