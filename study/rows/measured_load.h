// Measured rows from files, whatever text they are: study/rows/row_reader.h lists the readers.
#ifndef STUDY_ROWS_MEASURED_LOAD_H
#define STUDY_ROWS_MEASURED_LOAD_H

#include "study/rows/measured.h"

// Reads one file, whose text says what it is: the measurements CSV, what nccl-tests print, or the
// TSV of epsim-real probe. Rows of the latter two name no cluster: whoever asks does (study/row.h).
// Refuses what its reader refuses, two rows of one id, and a file without rows.
bool measured_load(struct measured *measured, const char *path, struct error *err);

// Reads several, one after the other; an id stands once in all of them.
bool measured_load_files(struct measured *measured, char *const *paths, size_t count,
                         struct error *err);

#endif
