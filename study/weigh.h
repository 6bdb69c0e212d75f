// What an explanation is worth on the rows of a diagnosis: study/diagnose.h.
#ifndef STUDY_WEIGH_H
#define STUDY_WEIGH_H

#include "study/diagnosis.h"

// Of a row's interval with the explanation's causes, of a logarithm.
double half_of(const struct diagnosis_row *row, const struct explanation *explanation);

// Whether it is at most half as far off as the healthy cluster.
bool comes_near(const struct diagnosis *diagnosis, const struct explanation *explanation);

// Sets its error, its share of near rows, and whether it explains them.
void weigh_explanation(const struct diagnosis *diagnosis, struct explanation *explanation);

bool predicts_same(const struct diagnosis *diagnosis, const struct explanation *a,
                   const struct explanation *b);

// Whether it moves a row at all.
bool changes_rows(const struct diagnosis *diagnosis, const struct explanation *explanation);

// Of slow rows that count, the geometric mean of measured over predicted; 1: none is.
double slower_rows(const struct diagnosis *diagnosis);

#endif
