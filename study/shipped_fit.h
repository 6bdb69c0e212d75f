// Fit files that travel inside the program, by name: study/fits/NAME.yaml (the Makefile's FITS).
#ifndef STUDY_SHIPPED_FIT_H
#define STUDY_SHIPPED_FIT_H

#include "base/doc.h"
#include "base/error.h"

// One by its name, "nccl-tests", or a file by its path. A word that is neither is taken for a path
// when it has '/' in it or ends in .yaml or .yml; else all names are told.
struct doc *fit_doc_load(const char *what, struct error *err);

#endif
