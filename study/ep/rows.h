// A group of lines as measured rows.
#ifndef STUDY_EP_ROWS_H
#define STUDY_EP_ROWS_H

#include "study/ep/group.h"
#include "study/ep/mix.h"
#include "study/rows/log.h"

// Adds the group's row, and one of the exchange of counts where its lines time it, or says why not.
void ep_group_rows(const struct ep_group *group, struct log *log, struct ep_mixes *mixes);

#endif
