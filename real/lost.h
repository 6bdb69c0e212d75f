// The end of a job that has lost a rank: mpirun and srun end the others with SIGTERM, and one of
// them should say so. Private to real/.
#ifndef REAL_LOST_H
#define REAL_LOST_H

// From here on, when SIGTERM comes, unfinished files go (base/outfile.h), and the lowest rank that
// still lives on each host writes one line. Collective.
void lost_watch(void);

// The job has its result or its own error: SIGTERM says nothing new any more.
void lost_ignore(void);

#endif
