// Output files: all or nothing. A file is written beside its final name and renamed when complete;
// on an error, a full disk or a signal (INT, TERM, HUP) nothing is left behind.
#ifndef BASE_OUTFILE_H
#define BASE_OUTFILE_H

#include "base/error.h"

#include <stdio.h>

struct outfile {
    FILE *stream; // write here
    char *path;   // NULL: standard output
    char *temporary;
};

// Installs the signal handlers now rather than with the first file, for a program with a handler of
// its own that must come before: it takes the place of ours and calls it.
void outfile_watch_signals(void);

// path NULL or "-" is standard output. Through a symbolic link, the file that it names is written,
// also where that does not exist yet. Refuses a directory, a missing folder, a read-only place
// (EXIT_INPUT, with the path). At most 64 are open at a time.
bool outfile_open(struct outfile *file, const char *path, struct error *err);

// Flushes, checks that every byte reached the file, renames. On failure the temporary is removed
// and err has EXIT_RUNTIME. After either result the outfile is closed.
bool outfile_commit(struct outfile *file, struct error *err);

// The same of several that belong together: every one is complete before the first is renamed, and
// a signal waits until the last is. On failure all are removed, and what was there before stays.
bool outfiles_commit(struct outfile *files, size_t count, struct error *err);

// Closes and removes what was written; safe on a closed or zeroed outfile.
void outfile_abort(struct outfile *file);

// A folder of such files, all or nothing likewise: made beside its final name, filled, and renamed
// when complete.
#define OUTFOLDER_FILES 8
struct outfolder {
    char *path, *temporary;
    bool made;
    char *files[OUTFOLDER_FILES]; // as they are called until the rename
    size_t count;
};

// Refuses (EXIT_INPUT, with the path) anything that exists but an empty folder: no folder of
// somebody's is written over.
bool outfolder_open(struct outfolder *folder, const char *path, struct error *err);

// Opens one file of it; the caller commits or aborts that before the folder.
bool outfolder_file(struct outfolder *folder, const char *name, struct outfile *file,
                    struct error *err);

bool outfolder_commit(struct outfolder *folder, struct error *err);

// Removes what was written; safe on a committed or zeroed outfolder.
void outfolder_abort(struct outfolder *folder);

#endif
