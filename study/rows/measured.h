// Files of measured rows: each is known by its text, and read by one of the readers of whole texts
// (collection.h) or as a log (log.h).
#ifndef STUDY_ROWS_MEASURED_H
#define STUDY_ROWS_MEASURED_H

#include "study/rows/collection.h"

// Reads one file, whose text says what it is. Rows of logs and of epsim-real probe name no
// cluster: whoever asks does (study/row.h). Refuses what its reader refuses, two rows of one id,
// and a file without rows.
bool measured_load(struct measured *measured, const char *path, struct error *err);

// Reads several, one after the other; an id stands once in all of them. cluster, as flags name it,
// says where ranks were when a text does not; NULL or "": nobody named one.
bool measured_load_files(struct measured *measured, char *const *paths, size_t count,
                         const char *cluster, struct error *err);

#endif
