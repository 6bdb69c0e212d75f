// NVLink domains of more than one host (GB200 NVL72, GB300 NVL72): what a measured text calls nodes
// are hosts, and it does not say whether NVLink joins them. The cluster says so.
#ifndef STUDY_DOMAINS_H
#define STUDY_DOMAINS_H

#include "study/row.h"
#include "study/rows/measured.h"

// Says once, with the number of rows, that hosts are taken as one NVLink domain, and that hosts of
// GPUs that come in such domains are not.
void domains_tell(const struct measured *measured, const struct row_overrides *overrides);

#endif
