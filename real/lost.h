// One line for one failure: when a rank is lost, every other one notices, by SIGTERM from its
// launcher or by a broken connection, and each would say so. Private to real/.
#ifndef REAL_LOST_H
#define REAL_LOST_H

#include <stdbool.h>

// From here on, when SIGTERM comes, unfinished files go (base/outfile.h), and one rank of each host
// writes one line, if none has told of a failure before. Collective.
void lost_watch(void);

// Whether this rank is the first of its host to tell of a failure; from then on nobody else's line
// appears. True before lost_watch.
bool lost_tell(void);

// MPI and the memory that ranks share are about to go: SIGTERM says nothing any more.
void lost_ignore(void);

#endif
